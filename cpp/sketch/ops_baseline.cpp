// What every processor of the architecture has: SSE2 on x86-64, NEON on arm64.
#define KEDGE_ISA baseline
#if defined(__x86_64__)
#define KEDGE_ISA_NAME "sse2"
#elif defined(__aarch64__)
#define KEDGE_ISA_NAME "neon"
#else
#define KEDGE_ISA_NAME "generic"
#endif
#define KEDGE_VECTOR_BYTES 16
#include "sketch/ops_body.hpp"
