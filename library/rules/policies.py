"""What holds where nothing else was laid down: shipped defaults set lengths, never limits."""

LOAN_DAYS = 28
