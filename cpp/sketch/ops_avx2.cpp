#define KEDGE_ISA avx2
#define KEDGE_ISA_NAME "avx2"
#define KEDGE_VECTOR_BYTES 32
#include "sketch/ops_body.hpp"
