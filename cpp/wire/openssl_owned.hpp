// OpenSSL objects that free themselves.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

namespace kedge::wire {

struct OpensslFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

using OwnedBio = std::unique_ptr<BIO, OpensslFree>;
using OwnedX509 = std::unique_ptr<X509, OpensslFree>;
using OwnedKey = std::unique_ptr<EVP_PKEY, OpensslFree>;

}  // namespace kedge::wire
