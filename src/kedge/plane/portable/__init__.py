"""The portable data plane: grpc.aio and the onnxruntime package.

The stages of a request stand in files of their own (decode, route, batch, run, answer, encode, observe); `pipeline` is
the one function that goes through them. It is also the readable specification of the native plane.
"""
