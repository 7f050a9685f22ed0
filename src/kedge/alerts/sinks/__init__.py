"""Where alerts go: the log, webhooks, Alertmanager, PagerDuty."""
