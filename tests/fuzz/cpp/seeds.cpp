// Writes the first inputs of each corpus: `kedge_fuzz_seeds <corpus directory>`.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "client.hpp"
#include "message.hpp"
#include "peer.hpp"
#include "wire/token.hpp"

using namespace kedge::wire;
using namespace kedge::wire::test;

namespace {

std::filesystem::path root;

void seed(const char* target, const char* name, const std::string& content) {
  std::filesystem::create_directories(root / target);
  std::ofstream(root / target / name, std::ios::binary) << content;
}

std::string infer() {
  return bytes(1, "m") + bytes(3, "id") + parameter(4, "kedge_key", bytes(3, "k")) +
         input("X", "FP32", {1, 2}) + bytes(6, bytes(1, "y")) + bytes(7, "abcdefgh");
}

// Chunk size and behaviour, then what `speak` makes a client say.
template <class Speak>
std::string conversation(std::uint8_t chunk, std::uint8_t behaviour, Speak speak) {
  Client client;
  speak(client);
  return std::string{static_cast<char>(chunk), static_cast<char>(behaviour)} + client.output();
}

void h2() {
  seed("h2", "unary",
       conversation(40, 0, [](Client& client) { client.request("/echo/abc", framed(infer())); }));
  seed("h2", "stream", conversation(5, 7, [](Client& client) {
         client.request("/s", framed("\3pause") + framed("\2send") + framed(std::string("\0done", 5)),
                        {{"grpc-timeout", "1S"}, {"x-kedge-key", "k"}});
       }));
  seed("h2", "errors", conversation(200, 31, [](Client& client) {
         client.request("/a", framed("\1x"), {{"grpc-encoding", "snappy"}});
         client.request("/ab", framed("x", true), {{"grpc-encoding", "gzip"}});
         client.raw_request({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "x"}},
                            "");
         client.ping();
       }));
  seed("h2", "reset", conversation(3, 8, [](Client& client) {
         const std::int32_t id = client.request("/abc", framed("abc").substr(0, 6), {}, false);
         client.output();
         client.reset(id);
       }));
  seed("h2", "http1", std::string("\5\0", 2) + "GET / HTTP/1.1\r\n\r\n");
}

void frame() {
  seed("frame", "plain", std::string("\2\0", 2) + framed("abc") + framed("") + framed("d"));
  // gzip of "a", by zlib.
  const std::string zipped("\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x04\0\x43\xbe\xb7\xe8\x01\0\0\0", 21);
  seed("frame", "gzip", std::string("\3\1", 2) + framed(zipped, true) + framed("b"));
  seed("frame", "long", std::string("\7\0", 2) + std::string("\0\0\1\0\1", 5));
}

void request() {
  seed("request", "raw", infer());
  seed("request", "typed",
       bytes(1, "m") + input("X", "FP32", {2}, bytes(5, bytes(6, "abcdefgh"))) +
           input("I", "INT8", {2}, bytes(5, number(2, 5) + bytes(2, varint(6)))) +
           input("S", "BYTES", {2}, bytes(5, bytes(8, "a") + bytes(8, ""))));
  seed("request", "strings",
       bytes(1, "m") + input("S", "BYTES", {2}) + bytes(7, std::string("\1\0\0\0a\0\0\0\0", 9)));
  seed("request", "parameters",
       parameter(4, "timeout", number(2, 5)) + parameter(4, "sequence_id", bytes(3, "")) +
           parameter(4, "x", varint(4 << 3 | 1) + "abcdefgh"));
  seed("request", "asked",
       infer() + parameter(4, "kedge_confidence", number(1, 1)) + bytes(6, bytes(1, "kedge.prediction_id")));
  seed("request", "group",
       varint(9 << 3 | 3) + number(1, 5) + varint(10 << 3 | 3) + varint(10 << 3 | 4) + varint(9 << 3 | 4) +
           infer());
}

void token() {
  constexpr TokenKey key = {7, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
  Prediction prediction;
  seed("token", "none", std::string(TokenSealer(key, prediction).seal(prediction).view()));
  prediction.predicted = PredictedValue{1, 0, 2};
  seed("token", "value", std::string(TokenSealer(key, prediction).seal(prediction).view()));
  prediction.predicted = PredictedClass{.label = 1, .count = 2, .probabilities = {1, 2}};
  seed("token", "class", std::string(TokenSealer(key, prediction).seal(prediction).view()));
}

// What a server says to two requests of a client, in pieces of ten bytes: its greeting comes first, and
// alone.
void answers() {
  const std::string whole = framed(kedge::load::test::answer_message("00000000", "1", "bundle", "token"));
  const auto said = [&](const char* name, const std::string& body, int status, const char* http) {
    kedge::load::test::ServerEnd server;
    std::string hello = server.pull();
    Client client;
    client.request("/m", whole);
    client.request("/m", whole);
    server.feed(client.output());
    for (const std::int32_t stream : server.asked) server.answer(stream, body, status, http);
    seed("answers", name, std::string{3, 2} + hello + server.pull());
  };
  said("ok", whole, 0, "200");
  said("cut", whole.substr(0, 20), 0, "200");
  said("shed", "", 8, "200");
  said("http", "no", -1, "503");
  seed("answers", "http1", std::string("\5\1", 2) + "HTTP/1.1 400 Bad Request\r\n\r\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: kedge_fuzz_seeds <corpus directory>\n", stderr);
    return 2;
  }
  root = argv[1];
  h2();
  frame();
  request();
  token();
  answers();
  return 0;
}
