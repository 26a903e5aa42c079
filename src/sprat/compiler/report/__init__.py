"""What people read: the report with its pictures, builds explained and compared."""
