"""The tables of `fleet.db`; a step never changes once released, a new one is appended.

Times are microseconds since 1970 in UTC; 0 means never. Secrets stand here only as SHA-256 or argon2 hashes.
"""

from typing import Final

_FIRST: Final = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE devices (
  id TEXT PRIMARY KEY,
  channel TEXT NOT NULL,
  models TEXT NOT NULL,
  labels TEXT NOT NULL,
  facts TEXT NOT NULL,
  enrolled_us INTEGER NOT NULL,
  revoked_us INTEGER NOT NULL DEFAULT 0,
  online INTEGER NOT NULL DEFAULT 0,
  boot_id TEXT NOT NULL DEFAULT '',
  presence_us INTEGER NOT NULL DEFAULT 0,
  seen_us INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE certificates (
  serial TEXT PRIMARY KEY,
  device TEXT NOT NULL REFERENCES devices(id),
  key_sha256 TEXT NOT NULL,
  pem TEXT NOT NULL,
  issued_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  revoked_us INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX certificates_of_device ON certificates (device);

CREATE TABLE tokens (
  secret_sha256 TEXT PRIMARY KEY,
  device TEXT NOT NULL,
  labels TEXT NOT NULL,
  channel TEXT NOT NULL,
  models TEXT NOT NULL,
  made_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  made_by TEXT NOT NULL,
  used_us INTEGER NOT NULL DEFAULT 0,
  used_by TEXT NOT NULL DEFAULT '',
  key_sha256 TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE logins (
  name TEXT PRIMARY KEY,
  password TEXT NOT NULL,
  role TEXT NOT NULL,
  made_us INTEGER NOT NULL
) STRICT;

CREATE TABLE web_sessions (
  sha256 TEXT PRIMARY KEY,
  login TEXT NOT NULL REFERENCES logins(name) ON DELETE CASCADE,
  csrf TEXT NOT NULL,
  made_us INTEGER NOT NULL,
  used_us INTEGER NOT NULL
) STRICT;

CREATE TABLE api_tokens (
  sha256 TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  made_us INTEGER NOT NULL,
  revoked_us INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at_us INTEGER NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_append_only_1 BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_is_append_only_2 BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TABLE desired (
  device TEXT PRIMARY KEY REFERENCES devices(id),
  version INTEGER NOT NULL,
  document BLOB NOT NULL,
  changed_us INTEGER NOT NULL
) STRICT;

CREATE TABLE reported (
  device TEXT PRIMARY KEY REFERENCES devices(id),
  version INTEGER NOT NULL,
  document BLOB NOT NULL,
  received_us INTEGER NOT NULL
) STRICT;

CREATE TABLE releases (
  channel TEXT NOT NULL,
  model TEXT NOT NULL,
  release_seq INTEGER NOT NULL,
  target TEXT NOT NULL,
  bundle TEXT NOT NULL,
  size INTEGER NOT NULL,
  signed TEXT NOT NULL,
  manifest TEXT NOT NULL,
  measured TEXT NOT NULL,
  accepted_us INTEGER NOT NULL,
  accepted_by TEXT NOT NULL,
  withdrawn_us INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (channel, model, release_seq, target)
) STRICT;
"""

FLEET: Final = (_FIRST,)
