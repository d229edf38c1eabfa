"""From policy files to compiled pipelines, and what outlives a reload. No call passes through here."""
