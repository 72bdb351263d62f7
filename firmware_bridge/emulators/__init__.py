"""Each front end and hand played on a pseudo-terminal, for tests, demonstrations and integrators without hardware."""
