"""What every view leans on and none repeats: gate, fields, paging, rendering, errors, the document."""
