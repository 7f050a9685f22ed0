// What fuzz targets demand: an invariant that stops the run.
#pragma once

#include <cstdio>
#include <cstdlib>

#define KEDGE_DEMAND(condition)                                            \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                        \
    }                                                                      \
  } while (false)
