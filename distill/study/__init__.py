"""Studies: many distillations planned, run, and made into tables, verdicts and figures."""
