"""What happens at the limits: more requests than can be answered, more connections, more replicas."""
