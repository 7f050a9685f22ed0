#define KEDGE_ISA avx512
#define KEDGE_ISA_NAME "avx512"
#define KEDGE_VECTOR_BYTES 64
#include "sketch/ops_body.hpp"
