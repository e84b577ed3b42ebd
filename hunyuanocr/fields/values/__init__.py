"""Values as they are printed: money, dates, telephone numbers; found, and normalised."""
