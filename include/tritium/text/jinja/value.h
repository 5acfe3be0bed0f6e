// SPDX-License-Identifier: Apache-2.0
// Values of a template: Python's data model in small, strings that remember who wrote them, and the heap that owns it
// all.
//
// A render creates every object on one Heap. Objects are counted; what is still alive when the render ends (cycles
// through closures and namespaces) dies with the heap, and destruction never recurses. The heap counts bytes, so a
// template cannot grow past its budget. Each string carries its origin: which bytes came from the template's author and
// which from the conversation, so that a tokenizer may obey control tokens in the first kind only. The origin survives
// slicing and joining; what is computed from a user's text is the user's.
// Source: the Python data model (docs.python.org/3/reference/datamodel.html) and Jinja 3.1's run-time types.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tritium/core/config.h"
#include "tritium/text/jinja/python_text.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

class Heap;

/// What a render may use. A step is a node evaluated, an item iterated or 16 bytes of text moved; what takes longer,
/// such as a call or a comparison in a sort, counts as several, so that a step is about 10 ns.
struct Limits {
  std::uint64_t fuel = 50'000'000;          ///< steps of one render, whatever they are nested in
  std::uint32_t depth = 200;                ///< nesting of the syntax, of calls and of data
  std::size_t output_bytes = 4u << 20;      ///< longest string, the rendered text included
  std::size_t memory_bytes = 64u << 20;     ///< bytes alive at one time, beside the variables passed in
  std::size_t template_bytes = 256u << 10;  ///< longest source
};

/// The local time that strftime_now shows.
using Clock = std::function<std::tm()>;

/// Which of the variables count as written by the template's author; everything else in them is the user's.
struct Trust {
  std::vector<std::string_view> variables;  ///< names of variables, such as bos_token
  std::vector<std::string_view> roles;      ///< values of `role` in the elements of the variable `messages`
};

enum class Kind : std::uint8_t {
  missing,  ///< no value: an argument not given, a variable not yet set; templates never see it
  none,
  boolean,
  integer,
  real,
  function,  ///< a global function, by number
  // Kinds from here on own an Object.
  undefined,
  string,
  list,
  tuple,
  dict,
  view,  ///< dict.keys(), dict.values(), dict.items()
  range,
  iterator,  ///< a lazy sequence that can be read once, as Python's generators
  name_space,
  method,  ///< a method with its receiver
  macro,
  loop,
  cycler,
  joiner,
  frame,  ///< variables of one activation; templates never see it
};

/// Base of everything on a Heap. `references` counts Values; the heap links all objects so that it can end cycles.
struct Object {
  Object* newer = nullptr;
  Object* older = nullptr;
  Heap* heap = nullptr;
  std::uint64_t bytes = 0;  ///< what it counts against the heap's budget
  std::uint32_t references = 0;
  bool dying = false;

  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  /// Lets go of every Value held, so that cycles end.
  virtual void drop() {}
};

/// A counted reference to an object of a known type.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) { add(); }
  Ref(const Ref& other) : object_(other.object_) { add(); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref();
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  void add() const {
    if (object_ != nullptr) ++object_->references;
  }
  T* object_ = nullptr;
};

/// Who wrote the bytes of a string: alternating runs, the first of which is `user` or the template's.
struct Origin {
  bool user = false;                 ///< of byte 0 (and of an empty string)
  std::vector<std::uint32_t> flips;  ///< byte offsets where it changes, ascending, strictly inside the text

  [[nodiscard]] bool any_user() const { return user || !flips.empty(); }
  [[nodiscard]] bool at(std::size_t offset) const {
    const auto passed = std::upper_bound(flips.begin(), flips.end(), offset) - flips.begin();
    return user != ((passed & 1) != 0);
  }
};

struct Str;
struct List;
struct Dict;

/// One value, 16 bytes. Numbers carry a mark when they came from the conversation; strings carry an Origin.
class Value {
 public:
  Value() = default;
  Value(const Value& other) : kind_(other.kind_), user_(other.user_), payload_(other.payload_) { add(); }
  Value(Value&& other) noexcept : kind_(other.kind_), user_(other.user_), payload_(other.payload_) {
    other.kind_ = Kind::missing;
  }
  Value& operator=(Value other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(user_, other.user_);
    std::swap(payload_, other.payload_);
    return *this;
  }
  ~Value() { release(); }

  static Value none() { return Value(Kind::none); }
  static Value boolean(bool b) {
    Value v(Kind::boolean);
    v.payload_.integer = b ? 1 : 0;
    return v;
  }
  static Value integer(std::int64_t i, bool user = false) {
    Value v(Kind::integer);
    v.payload_.integer = i;
    v.user_ = user;
    return v;
  }
  static Value real(double d, bool user = false) {
    Value v(Kind::real);
    v.payload_.real = d;
    v.user_ = user;
    return v;
  }
  static Value function(std::int64_t id) {
    Value v(Kind::function);
    v.payload_.integer = id;
    return v;
  }
  static Value object(Kind kind, Object* o) {
    Value v(kind);
    v.payload_.object = o;
    v.add();
    return v;
  }

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is(Kind kind) const { return kind_ == kind; }
  [[nodiscard]] bool is_missing() const { return kind_ == Kind::missing; }
  [[nodiscard]] bool is_number() const {
    return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::real;
  }
  [[nodiscard]] bool is_integral() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }
  [[nodiscard]] bool user() const { return user_; }  ///< a number from the conversation
  [[nodiscard]] bool as_bool() const { return payload_.integer != 0; }
  [[nodiscard]] std::int64_t as_integer() const { return payload_.integer; }
  [[nodiscard]] double as_real() const {
    return kind_ == Kind::real ? payload_.real : static_cast<double>(payload_.integer);
  }
  template <class T>
  [[nodiscard]] T& as() const {
    return static_cast<T&>(*payload_.object);
  }
  [[nodiscard]] Object* object() const { return counted() ? payload_.object : nullptr; }
  [[nodiscard]] const Str& str() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  [[nodiscard]] bool counted() const { return kind_ >= Kind::undefined; }
  void add() const {
    if (counted()) ++payload_.object->references;
  }
  void release();

  Kind kind_ = Kind::missing;
  bool user_ = false;
  union {
    std::int64_t integer;
    double real;
    Object* object;
  } payload_{0};
};

/// Why a heap refuses to go on.
enum class Exhausted : std::uint8_t { no, memory, string_length, fuel };

/// Owner of the objects of one render, and its meter.
class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits), fuel_(limits.fuel) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  ~Heap() {
    tearing_down_ = true;
    single_.fill(Value());
    for (Object* o = first_; o != nullptr; o = o->older) o->drop();
    while (first_ != nullptr) {
      Object* o = first_;
      first_ = o->older;
      delete o;
    }
  }

  /// A new object; `extra` bytes beside its own size count against the budget.
  template <class T>
  Ref<T> make(std::size_t extra = 0) {
    T* o = new T();
    o->heap = this;
    o->older = first_;
    if (first_ != nullptr) first_->newer = o;
    first_ = o;
    o->bytes = sizeof(T) + extra;
    grow(o->bytes);
    static_cast<void>(charge(kObjectSteps));
    return Ref<T>(o);
  }

  void release(Object* o) {
    if (tearing_down_ || o->dying) return;
    o->dying = true;
    if (o->newer != nullptr) o->newer->older = o->older;
    else first_ = o->older;
    if (o->older != nullptr) o->older->newer = o->newer;
    o->older = std::exchange(doomed_, o);  // a list through the objects: letting go needs no memory
    if (burying_) return;
    burying_ = true;  // one loop for the whole chain of objects that die with this one: no recursion
    while (doomed_ != nullptr) {
      Object* dead = doomed_;
      doomed_ = dead->older;
      shrink(dead->bytes);
      delete dead;
    }
    burying_ = false;
  }

  void grow(std::uint64_t bytes) {
    live_ += bytes;
    if (live_ > limits_.memory_bytes + allowance_) exhaust(Exhausted::memory);
  }
  void shrink(std::uint64_t bytes) { live_ -= bytes; }
  /// What is made between these two calls (the variables passed in) does not count against the budget.
  void begin_exempt() { allowance_ = std::numeric_limits<std::uint64_t>::max() / 2; }
  void end_exempt() { allowance_ = live_; }

  static constexpr std::uint64_t kObjectSteps = 4;  ///< what it costs to make an object

  /// Pays `steps`; false when a limit has been passed, now or earlier.
  [[nodiscard]] bool charge(std::uint64_t steps) {
    if (TRITIUM_UNLIKELY(steps > fuel_)) {
      fuel_ = 0;
      exhaust(Exhausted::fuel);
    } else {
      fuel_ -= steps;
    }
    return exhausted_ == Exhausted::no;
  }
  [[nodiscard]] bool charge_bytes(std::size_t bytes) { return charge(1 + (bytes >> 4)); }
  void exhaust(Exhausted why) {
    if (exhausted_ == Exhausted::no) exhausted_ = why;
  }
  [[nodiscard]] Exhausted exhausted() const { return exhausted_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }
  [[nodiscard]] std::uint64_t fuel_left() const { return fuel_; }

  /// A string whose bytes all have one origin.
  Value string(std::string text, bool user = false);
  /// A one-byte string; these are shared, since loops over text make many.
  Value single(unsigned char c, bool user);

 private:
  Limits limits_;
  std::uint64_t fuel_;
  std::uint64_t live_ = 0;
  std::uint64_t allowance_ = 0;
  Exhausted exhausted_ = Exhausted::no;
  bool tearing_down_ = false;
  bool burying_ = false;
  Object* first_ = nullptr;
  Object* doomed_ = nullptr;  // what is about to be deleted, linked by `older`
  std::array<Value, 256> single_;  // [user * 128 + byte]
};

template <class T>
Ref<T>::~Ref() {
  if (object_ != nullptr && --object_->references == 0) object_->heap->release(object_);
}

inline void Value::release() {
  if (counted() && --payload_.object->references == 0) payload_.object->heap->release(payload_.object);
}

/// Text in UTF-8, always valid. `safe` marks Python's Markup, which escapes what is joined to it.
struct Str final : Object {
  std::string text;
  Origin origin;
  bool safe = false;

  /// Code points.
  [[nodiscard]] std::size_t length() const {
    if (length_ == kUnknown) length_ = utf8_length(text);
    return length_;
  }
  [[nodiscard]] bool ascii() const { return length() == text.size(); }

 private:
  static constexpr std::size_t kUnknown = static_cast<std::size_t>(-1);
  mutable std::size_t length_ = kUnknown;
};

inline const Str& Value::str() const { return as<Str>(); }

inline Value Heap::string(std::string text, bool user) {
  if (text.size() > limits_.output_bytes) {
    exhaust(Exhausted::string_length);
    text.clear();
  }
  Ref<Str> s = make<Str>(text.size());
  s->text = std::move(text);
  s->origin.user = user;
  return Value::object(Kind::string, s.get());
}

inline Value Heap::single(unsigned char c, bool user) {
  Value& shared = single_[(user ? 128u : 0u) + (c & 127u)];
  if (shared.is_missing()) shared = string(std::string(1, static_cast<char>(c)), user);
  return shared;
}

/// Grows a string piece by piece and keeps the origin of each. Counts against the heap while it grows.
class StringBuilder {
 public:
  explicit StringBuilder(Heap& heap) : heap_(&heap) {}
  StringBuilder(const StringBuilder&) = delete;
  StringBuilder& operator=(const StringBuilder&) = delete;
  ~StringBuilder() { heap_->shrink(counted_); }

  void append(std::string_view piece, bool user) {
    if (piece.empty() || !room(piece.size())) return;
    mark(user);
    text_.append(piece);
  }
  void append_code_point(char32_t c, bool user) {
    char bytes[4];
    append(std::string_view(bytes, utf8_encode(c, bytes)), user);
  }
  /// Bytes [begin, end) of `s`.
  void append(const Str& s, std::size_t begin, std::size_t end) {
    if (begin >= end || !room(end - begin)) return;
    const auto& flips = s.origin.flips;
    auto flip = std::upper_bound(flips.begin(), flips.end(), begin);
    bool user = s.origin.user != (((flip - flips.begin()) & 1) != 0);
    while (begin < end) {
      const std::size_t stop = flip == flips.end() ? end : std::min<std::size_t>(end, *flip);
      mark(user);
      text_.append(s.text, begin, stop - begin);
      begin = stop;
      user = !user;
      if (flip != flips.end()) ++flip;
    }
  }
  void append(const Str& s) { append(s, 0, s.text.size()); }
  void repeat(std::string_view piece, std::int64_t times, bool user) {
    for (std::int64_t i = 0; i < times && !piece.empty() && heap_->exhausted() == Exhausted::no; ++i)
      append(piece, user);
  }

  [[nodiscard]] std::size_t size() const { return text_.size(); }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const Origin& origin() const { return origin_; }
  /// Everything so far becomes the user's.
  void taint() {
    origin_.user = true;
    origin_.flips.clear();
    last_user_ = true;
  }
  /// The string; the builder is empty afterwards.
  Value finish(bool safe = false) {
    heap_->shrink(counted_);
    counted_ = 0;
    Ref<Str> s = heap_->make<Str>(text_.size() + origin_.flips.size() * sizeof(std::uint32_t));
    s->text = std::move(text_);
    s->origin = std::move(origin_);
    s->safe = safe;
    text_.clear();
    origin_ = Origin();
    last_user_ = false;
    return Value::object(Kind::string, s.get());
  }

 private:
  bool room(std::size_t more) {
    if (more > heap_->limits().output_bytes - std::min(text_.size(), heap_->limits().output_bytes)) {
      heap_->exhaust(Exhausted::string_length);
      return false;
    }
    counted_ += more;
    heap_->grow(more);
    return heap_->charge_bytes(more);
  }
  void mark(bool user) {
    if (text_.empty()) {
      origin_.user = user;
    } else if (user != last_user_) {
      origin_.flips.push_back(static_cast<std::uint32_t>(text_.size()));
    }
    last_user_ = user;
  }

  Heap* heap_;
  std::uint64_t counted_ = 0;
  std::string text_;
  Origin origin_;
  bool last_user_ = false;
};

/// list or tuple. Templates cannot change a list: the sandbox forbids it.
struct List final : Object {
  std::vector<Value> items;
  bool group = false;  ///< a tuple of groupby: also has .grouper and .list
  void drop() override { items.clear(); }
};

/// Collects the items of a list and counts them while it grows.
class ListBuilder {
 public:
  explicit ListBuilder(Heap& heap) : heap_(&heap) {}
  ListBuilder(const ListBuilder&) = delete;
  ListBuilder& operator=(const ListBuilder&) = delete;
  ~ListBuilder() { heap_->shrink(items_.size() * sizeof(Value)); }
  /// False when a limit has been passed.
  [[nodiscard]] bool push(Value v) {
    heap_->grow(sizeof(Value));
    items_.push_back(std::move(v));
    return heap_->charge(1);
  }
  [[nodiscard]] std::vector<Value>& items() { return items_; }
  Value finish(Kind kind = Kind::list) {
    const std::size_t bytes = items_.size() * sizeof(Value);
    heap_->shrink(bytes);
    Ref<List> l = heap_->make<List>(bytes);
    l->items = std::move(items_);
    items_.clear();
    return Value::object(kind, l.get());
  }

 private:
  Heap* heap_;
  std::vector<Value> items_;
};

/// A value that is not there, and what to say when it is used.
struct Undefined final : Object {
  enum class Why : std::uint8_t { name, attribute, element, hint, unsafe };
  Why why = Why::name;
  const char* owner = "";  ///< type of the object that lacks the attribute
  std::string name;        ///< variable, attribute, element, or the whole hint
};

/// Insertion-ordered mapping. Keys are hashed when there are more than a handful.
struct Dict final : Object {
  struct Entry {
    Value key;
    Value value;
  };
  std::vector<Entry> entries;
  std::unordered_multimap<std::uint64_t, std::uint32_t> index;  ///< hash -> entry; empty while small
  static constexpr std::size_t kSmall = 8;
  static constexpr std::size_t kEntryBytes = sizeof(Entry) + 32;

  void drop() override {
    entries.clear();
    index.clear();
  }
  /// The value under a string key, or nullptr.
  [[nodiscard]] const Value* find(std::string_view key) const {
    if (entries.size() <= kSmall) {
      for (const Entry& e : entries) {
        if (e.key.is(Kind::string) && e.key.str().text == key) return &e.value;
      }
      return nullptr;
    }
    const auto [begin, end] = index.equal_range(hash_text(key));
    for (auto i = begin; i != end; ++i) {
      const Entry& e = entries[i->second];
      if (e.key.is(Kind::string) && e.key.str().text == key) return &e.value;
    }
    return nullptr;
  }
  static std::uint64_t hash_text(std::string_view text) { return std::hash<std::string_view>{}(text); }
};

struct View final : Object {
  enum class Part : std::uint8_t { keys, values, items };
  Value dict;
  Part part = Part::keys;
  void drop() override { dict = Value(); }
};

struct Range final : Object {
  std::int64_t start = 0;
  std::int64_t stop = 0;
  std::int64_t step = 1;
  std::int64_t count = 0;
  [[nodiscard]] std::int64_t at(std::int64_t i) const {  // unsigned: intermediate sums may wrap, the result never does
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(start) +
                                     static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(step));
  }
};

struct Namespace final : Object {
  std::vector<std::pair<std::string, Value>> attributes;
  bool printing = false;
  void drop() override { attributes.clear(); }
  [[nodiscard]] Value* find(std::string_view name) {
    for (auto& [key, value] : attributes) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

struct Cycler final : Object {
  std::vector<Value> items;
  std::size_t position = 0;
  void drop() override { items.clear(); }
};

struct Joiner final : Object {
  Value separator;
  bool used = false;
  void drop() override { separator = Value(); }
};

/// Variables of one activation of the template, a macro, a call block or a recursive loop.
struct Frame final : Object {
  Ref<Frame> outer;
  std::vector<Value> slots;
  void drop() override {
    outer = Ref<Frame>();
    slots.clear();
  }
};

/// Positional and named arguments of one call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
  [[nodiscard]] std::size_t size() const { return positional.size() + named.size(); }
};

}  // namespace jinja

TRITIUM_NAMESPACE_END
