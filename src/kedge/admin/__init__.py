"""The admin port: `kedge.v1.Admin` over gRPC."""
