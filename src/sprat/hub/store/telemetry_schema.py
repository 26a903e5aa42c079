"""The tables of `telemetry.db`; a step never changes once released, a new one is appended.

The ingest process is the one writer; the hub opens the same file to read. Both may start first, so each statement
allows for what is there. Times are microseconds since 1970 in UTC; an epoch is 16 hex digits, as in acks.
"""

from typing import Final

_FIRST: Final = """
CREATE TABLE IF NOT EXISTS frames (
  id INTEGER PRIMARY KEY,
  device TEXT NOT NULL, epoch TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
  day INTEGER NOT NULL, received_us INTEGER NOT NULL, sha256 BLOB NOT NULL, count INTEGER NOT NULL,
  offset_us INTEGER NOT NULL, timing TEXT NOT NULL, model TEXT NOT NULL, bundle TEXT NOT NULL, raw BLOB NOT NULL,
  UNIQUE (device, epoch, lane, seq)
) STRICT;
CREATE INDEX IF NOT EXISTS frames_by_day ON frames (day);
CREATE INDEX IF NOT EXISTS frames_of_device ON frames (device, lane, id);

-- Kept for ever: retention of frames must never make a resend count again.
CREATE TABLE IF NOT EXISTS committed (
  device TEXT NOT NULL, epoch TEXT NOT NULL, lane TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (device, epoch, lane, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS lanes (
  device TEXT NOT NULL, epoch TEXT NOT NULL, lane TEXT NOT NULL,
  produced INTEGER NOT NULL, evicted INTEGER NOT NULL, damaged INTEGER NOT NULL,
  stored INTEGER NOT NULL, quarantined INTEGER NOT NULL, conflicts INTEGER NOT NULL, duplicates INTEGER NOT NULL,
  frames INTEGER NOT NULL, last_seq INTEGER NOT NULL, updated_us INTEGER NOT NULL,
  PRIMARY KEY (device, epoch, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS boots (
  device TEXT NOT NULL, boot_id BLOB NOT NULL, offset_us INTEGER NOT NULL, timing TEXT NOT NULL,
  PRIMARY KEY (device, boot_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS rollups (
  device TEXT NOT NULL, bundle TEXT NOT NULL, minute_us INTEGER NOT NULL, lane TEXT NOT NULL,
  model TEXT NOT NULL, release_seq INTEGER NOT NULL, predictions INTEGER NOT NULL, errors INTEGER NOT NULL,
  classes TEXT NOT NULL, latency TEXT NOT NULL, confidence TEXT NOT NULL,
  PRIMARY KEY (device, bundle, minute_us, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rollups_by_minute ON rollups (minute_us);

-- Running sums of rollups, so that a gate need not add up every minute since the install.
CREATE TABLE IF NOT EXISTS tallies (
  device TEXT NOT NULL, bundle TEXT NOT NULL, lane TEXT NOT NULL, model TEXT NOT NULL, release_seq INTEGER NOT NULL,
  predictions INTEGER NOT NULL, errors INTEGER NOT NULL, first_minute_us INTEGER NOT NULL, last_minute_us INTEGER NOT NULL,
  PRIMARY KEY (device, bundle, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tallies_of_bundle ON tallies (bundle);

CREATE TABLE IF NOT EXISTS drift (
  device TEXT NOT NULL, bundle TEXT NOT NULL, feature TEXT NOT NULL, hour_us INTEGER NOT NULL, counts TEXT NOT NULL,
  PRIMARY KEY (device, bundle, feature, hour_us)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS drift_of_bundle ON drift (bundle, hour_us);

CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, at_us INTEGER NOT NULL, source TEXT NOT NULL, code TEXT NOT NULL,
  model TEXT NOT NULL, bundle TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_of_device ON events (device, id);
CREATE INDEX IF NOT EXISTS events_by_time ON events (at_us);

CREATE TABLE IF NOT EXISTS health (
  device TEXT NOT NULL, at_us INTEGER NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (device, at_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS quarantine (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, received_us INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  epoch TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, times INTEGER NOT NULL, sha256 BLOB NOT NULL, raw BLOB NOT NULL,
  UNIQUE (device, sha256)
) STRICT;
"""

_SHADOWS: Final = """
-- What a shadow showed beside the bundle that answered, by hour; `detail` is a shadow summary, summed.
CREATE TABLE IF NOT EXISTS shadows (
  device TEXT NOT NULL, bundle TEXT NOT NULL, shadow TEXT NOT NULL, hour_us INTEGER NOT NULL,
  model TEXT NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY (device, bundle, shadow, hour_us)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shadows_of_pair ON shadows (shadow, bundle, hour_us);
"""

_GAPS: Final = """
-- Whether a gap stands here already: a device that was killed may tell it again.
CREATE INDEX IF NOT EXISTS gaps_of_device ON events (device, detail) WHERE code = 'gap';
"""

TELEMETRY: Final = (_FIRST, _SHADOWS, _GAPS)
