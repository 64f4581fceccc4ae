"""Files that people give: tables of cases in all their forms, and YAML; each fault is one line."""
