"""What people look at: tables, plots, the explorer, the report."""
