"""The importer's rows, grouped by family: each module registers its operators when it is imported."""
