"""From a verdict to whoever can act on it: owners, routes, one alert a problem, and an outbox that loses nothing."""
