"""From codes to findings: groups, valid estimates, two sources read apart, promises that hold."""
