"""Rules as data, pure: what the table should hold (`source`, `static`), what a listing says
(`listing`), and what lies between the two (`plan`)."""
