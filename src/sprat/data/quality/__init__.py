"""Data checks: what people should look at (findings), and what nothing good can be made of (errors)."""

from sprat.data.quality.columns import examine
from sprat.data.quality.finding import Code, Finding, Severity
from sprat.data.quality.labels import balance, examine_labels
from sprat.data.quality.rows import examine_parts, examine_rows

__all__ = ["Code", "Finding", "Severity", "balance", "examine", "examine_labels", "examine_parts", "examine_rows"]
