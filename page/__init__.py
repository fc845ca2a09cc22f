"""The page for the browser: HTML, CSS and JavaScript, and what puts them together."""
