// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/json.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "io/allocation_meter.h"
#include "io/test_files.h"

using namespace tritium;

TEST_CASE("documents come out as they went in", "[json]") {
  const std::string text =
      R"({"a":[1,-2,3.5,true,false,null,"x\n\u00e9\ud83d\ude00",[],{}],"big":18446744073709551615,"o":{"a":{"a":1}}})";
  const Json document = value_of(parse_json(text, "t"));
  CHECK(document == Json::parse(text));
  CHECK(document["big"].get<std::uint64_t>() == ~std::uint64_t{0});
  CHECK(value_of(parse_json(" 7 ", "t")) == 7);
  CHECK(value_of(parse_json("\"s\"", "t")) == "s");
  CHECK(value_of(parse_json("[[1],[2,[3]],4]", "t")) == Json::parse("[[1],[2,[3]],4]"));
}

TEST_CASE("random documents parse as the package's own parser has them", "[json]") {
  std::mt19937 random(11);
  const auto make = [&](auto&& self, int depth) -> Json {
    switch (random() % (depth > 4 ? 5 : 7)) {
      case 0: return nullptr;
      case 1: return random() % 2 == 0;
      case 2: return static_cast<std::int64_t>(random()) - (1ll << 31);
      case 3: return static_cast<double>(random()) / 1024.0;
      case 4: return std::string(random() % 5, static_cast<char>('a' + random() % 26));
      case 5: {
        Json array = Json::array();
        for (auto n = random() % 5; n > 0; --n) array.push_back(self(self, depth + 1));
        return array;
      }
      default: {
        Json object = Json::object();
        for (auto n = random() % 5; n > 0; --n) object["k" + std::to_string(random() % 9)] = self(self, depth + 1);
        return object;
      }
    }
  };
  for (int i = 0; i < 500; ++i) {
    const Json expected = make(make, 0);
    REQUIRE(value_of(parse_json(expected.dump(i % 3), "t")) == expected);
  }
}

TEST_CASE("what is not JSON is refused with its place", "[json]") {
  const std::pair<std::string, std::string> cases[] = {
      {"", "byte 1"},          {"{", "byte 2"},         {"{\"a\":1,}", "byte 8"},
      {"[1 2]", "byte 4"},     {"{\"a\" 1}", "byte 6"}, {"nul", "byte"},
      {"01", "byte"},          {"+1", "byte"},          {"NaN", "byte"},
      {"1e999", "byte"},       {"\"a", "byte"},         {"\"\x01\"", "byte"},
      {"\"\\ud800\"", "byte"}, {"\"\\q\"", "byte"},     {"\"\xff\"", "byte"},
      {"[1]]", "byte 4"},      {"{} {}", "byte"},       {"/* c */ {}", "byte"},
      {"{'a':1}", "byte 2"},   {"{1:1}", "byte 2"},     {std::string("{\"a\":\0}", 7), "byte"},
  };
  for (const auto& [text, names] : cases) {
    const std::string message = message_of(parse_json(text, "config.json"));
    INFO(text << " -> " << message);
    CHECK(contains(message, "bad JSON (config.json, "));
    CHECK(contains(message, names));
    CHECK(is_one_printable_line(message));
  }
}

TEST_CASE("limits hold before memory is spent", "[json]") {
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  CHECK(parse_json(nested(64), "t").ok());
  CHECK(contains(message_of(parse_json(nested(65), "t")), "at most 64 levels"));
  std::string objects;
  for (int i = 0; i < 100; ++i) objects += "{\"a\":";
  CHECK(contains(message_of(parse_json(objects, "t")), "at most 64 levels"));
  const std::string deepest = nested(1'000'000);
  const AllocationMeter meter;
  CHECK(contains(message_of(parse_json(deepest, "t")), "nested too deeply"));
  CHECK(meter.peak_bytes() < 65536);

  JsonLimits limits;
  limits.max_bytes = 10;
  CHECK(parse_json("[1,2,3,45]", "t", limits).ok());
  CHECK(contains(message_of(parse_json("[1,2,3,456]", "t", limits)), "expected at most 10 bytes, found 11"));
  limits = {};
  limits.max_values = 4;
  CHECK(parse_json("[1,2,3]", "t", limits).ok());
  CHECK(contains(message_of(parse_json("[1,2,3,4]", "t", limits)), "at most 4"));
  CHECK(parse_json("{\"a\":1}", "t", limits).ok());
  CHECK(contains(message_of(parse_json("{\"a\":1,\"b\":2}", "t", limits)), "at most 4"));
}

TEST_CASE("a key given twice is refused", "[json]") {
  CHECK(message_of(parse_json(R"({"hidden_size":1,"b":2,"hidden_size":3})", "config.json")) ==
        "duplicate key in JSON (config.json: expected unique keys, found \"hidden_size\" twice)");
  CHECK(contains(message_of(parse_json(R"({"o":{"x":1,"x":1}})", "t")), "\"x\" twice"));
  CHECK(parse_json(R"({"o":{"x":1},"x":{"o":1}})", "t").ok());
}

TEST_CASE("typed access names the key, the wish and what is there", "[json]") {
  const Json document = value_of(parse_json(
      R"({"n":8,"neg":-1,"f":0.5,"whole":2048.0,"s":"text","b":true,"none":null,"big":4294967296,"huge":1e300,
          "list":[1,2,"x"],"ints":[1,2,3],"strings":["a","b"],"o":{"inner":7}})",
      "config.json"));
  const JsonObject root = value_of(JsonObject::of(document, "config.json"));
  CHECK(value_of(root.get<int>("n")) == 8);
  CHECK(value_of(root.get<std::uint64_t>("big")) == 4294967296);
  CHECK(value_of(root.get<double>("n")) == 8.0);
  CHECK(value_of(root.get<float>("f")) == 0.5f);
  CHECK(value_of(root.get<std::uint32_t>("whole")) == 2048);
  CHECK(value_of(root.get<std::string_view>("s")) == "text");
  CHECK(value_of(root.get<bool>("b")));
  CHECK(value_of(root.get_array<int>("ints")) == std::vector<int>{1, 2, 3});
  CHECK(value_of(root.get_array<std::string_view>("strings")) == std::vector<std::string_view>{"a", "b"});
  CHECK(value_of(value_of(root.get_object("o")).get<int>("inner")) == 7);
  CHECK(value_of(root.get_or<int>("missing", 5)) == 5);
  CHECK(value_of(root.get_or<int>("none", 6)) == 6);
  CHECK(value_of(root.get_or<int>("n", 6)) == 8);
  CHECK(root.find("none") == nullptr);

  CHECK(message_of(root.get<int>("s")) == "wrong type in JSON (config.json, s: expected integer, found string)");
  CHECK(message_of(root.get_or<int>("s", 1)) == "wrong type in JSON (config.json, s: expected integer, found string)");
  CHECK(message_of(root.get<int>("f")) == "wrong type in JSON (config.json, f: expected integer, found number)");
  CHECK(message_of(root.get<std::uint32_t>("neg")) ==
        "number in JSON does not fit (config.json, neg: expected non-negative integer, found -1)");
  CHECK(message_of(root.get<std::uint32_t>("big")) ==
        "number in JSON does not fit (config.json, big: expected non-negative integer, found 4294967296)");
  CHECK(contains(message_of(root.get<std::int64_t>("huge")), "does not fit"));
  CHECK(contains(message_of(root.get<float>("huge")), "does not fit"));
  CHECK(message_of(root.get<bool>("n")) == "wrong type in JSON (config.json, n: expected boolean, found integer)");
  CHECK(message_of(root.get<std::string_view>("b")) ==
        "wrong type in JSON (config.json, b: expected string, found boolean)");
  CHECK(message_of(root.get<int>("missing")) ==
        "key is missing in JSON (config.json, missing: expected integer, found nothing)");
  CHECK(message_of(root.get<int>("none")) ==
        "key is missing in JSON (config.json, none: expected integer, found null)");
  CHECK(message_of(root.get_array<int>("list")) ==
        "wrong type in JSON (config.json, list[2]: expected integer, found string)");
  CHECK(contains(message_of(root.get_array<int>("n")), "expected array, found integer"));
  CHECK(contains(message_of(root.get_object("n")), "expected object, found integer"));
  CHECK(message_of(value_of(root.get_object("o")).get<int>("x")) ==
        "key is missing in JSON (config.json, o, x: expected integer, found nothing)");
  CHECK(contains(message_of(JsonObject::of(document["ints"], "config.json")), "expected object, found array"));
}

TEST_CASE("files are read with the same rules", "[json]") {
  const TemporaryFolder folder;
  write_file(folder / "a.json", "{\"a\":1}");
  CHECK(value_of(read_json_file(folder / "a.json")) == Json{{"a", 1}});
  JsonLimits limits;
  limits.max_bytes = 6;
  CHECK(contains(message_of(read_json_file(folder / "a.json", limits)), "at most 6 bytes"));
  CHECK(contains(message_of(read_json_file(folder / "b.json")), "No such file"));
  CHECK(contains(message_of(read_json_file(folder.path())), "a folder"));
}

TEST_CASE("short memory while parsing is an error", "[json]") {
  const std::string text = R"({"some quite long key of the object":["and a value that needs the heap",1,{"x":[]}]})";
  std::size_t n = 1;
  for (; n < 200; ++n) {
    // One failure, and none after the parse: the destructor of nlohmann::json allocates, and cannot report that.
    Result<Json> document = Error{};
    {
      const AllocationFailure failure(n, 1);
      document = parse_json(text, "t");
    }
    if (document.ok()) break;
    if (document.error().code != Errc::out_of_memory) FAIL(document.error().message);
  }
  CHECK(n > 5);
  CHECK(n < 200);
}
