// SPDX-License-Identifier: Apache-2.0
// The syntax tree of a template, and the places where its variables live.
//
// The parser builds it, the resolver (scope.h) fills in the slots, and the interpreter only reads it: one tree may be
// rendered by many threads at once. Every node knows its line and its depth; the parser refuses trees deeper than the
// limit, which bounds every later recursion.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

/// A variable: `hops` activations outwards, then slot `index`.
struct Slot {
  std::uint32_t hops = 0;
  std::uint32_t index = 0;
};

/// How a scope gives one of its variables a first value.
struct Load {
  enum class From : std::uint8_t {
    parameter,  ///< whoever enters the scope sets it
    context,    ///< the variable of that name passed to the render, or the global of that name
    outer,      ///< the variable of that name in an enclosing scope
    nothing,    ///< unset
  };
  From from = From::nothing;
  std::uint32_t target = 0;  ///< slot in the scope's own activation
  Slot outer;
  std::uint32_t name = 0;  ///< index into Program::names
};

/// What happens to variables when a scope is entered; when it is left, all of them are unset.
struct Scope {
  std::vector<Load> loads;
};

// --- expressions -----------------------------------------------------------------------------------------------------

struct Expr {
  enum class Type : std::uint8_t {
    constant,
    name,
    namespace_attribute,
    tuple,
    list,
    dict,
    unary,
    binary,
    logic,
    concat,
    compare,
    attribute,
    subscript,
    slice,
    call,
    filter,
    test,
    conditional
  };
  const Type type;
  std::uint32_t line = 0;
  std::uint32_t depth = 1;
  explicit Expr(Type t) : type(t) {}
  Expr(const Expr&) = delete;
  Expr& operator=(const Expr&) = delete;
  virtual ~Expr() = default;
};
using ExprPtr = std::unique_ptr<Expr>;

struct Constant final : Expr {
  using Literal = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string>;
  Literal value;
  std::uint32_t index = 0;  ///< into the render's table of constants
  Constant() : Expr(Type::constant) {}
};

struct Name final : Expr {
  enum class Use : std::uint8_t { load, store, parameter };
  std::string text;
  Use use = Use::load;
  Slot slot;
  Name() : Expr(Type::name) {}
};

/// `ns.attribute` as the target of a set.
struct NamespaceAttribute final : Expr {
  std::string text;
  std::string attribute;
  Slot slot;
  NamespaceAttribute() : Expr(Type::namespace_attribute) {}
};

struct Sequence final : Expr {  // tuple or list
  std::vector<ExprPtr> items;
  explicit Sequence(Type t) : Expr(t) {}
};

struct DictLiteral final : Expr {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
  DictLiteral() : Expr(Type::dict) {}
};

struct Unary final : Expr {
  enum class Op : std::uint8_t { negate, plus, not_ };
  Op op = Op::negate;
  ExprPtr operand;
  Unary() : Expr(Type::unary) {}
};

enum class Arithmetic : std::uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };

struct Binary final : Expr {
  Arithmetic op = Arithmetic::add;
  ExprPtr left;
  ExprPtr right;
  Binary() : Expr(Type::binary) {}
};

struct Logic final : Expr {
  bool is_and = true;
  ExprPtr left;
  ExprPtr right;
  Logic() : Expr(Type::logic) {}
};

struct Concat final : Expr {
  std::vector<ExprPtr> parts;
  Concat() : Expr(Type::concat) {}
};

enum class Comparison : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };

struct Compare final : Expr {
  ExprPtr first;
  std::vector<std::pair<Comparison, ExprPtr>> rest;
  Compare() : Expr(Type::compare) {}
};

struct Attribute final : Expr {
  ExprPtr object;
  std::string name;
  Attribute() : Expr(Type::attribute) {}
};

struct Subscript final : Expr {
  ExprPtr object;
  ExprPtr index;
  Subscript() : Expr(Type::subscript) {}
};

struct Slice final : Expr {
  ExprPtr start;
  ExprPtr stop;
  ExprPtr step;
  Slice() : Expr(Type::slice) {}
};

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;
  ExprPtr star_star;
};

struct Call final : Expr {
  ExprPtr callee;
  Arguments arguments;
  Call() : Expr(Type::call) {}
};

/// A filter or a test, by name. A filter block has no operand.
struct Apply final : Expr {
  ExprPtr operand;
  std::string name;
  Arguments arguments;
  std::uint32_t function = 0;  ///< into the table of filters or tests; kUnknownFunction when there is none
  explicit Apply(Type t) : Expr(t) {}
};
inline constexpr std::uint32_t kUnknownFunction = 0xFFFFFFFFu;

struct Conditional final : Expr {
  ExprPtr test;
  ExprPtr then;
  ExprPtr otherwise;  ///< may be absent
  Conditional() : Expr(Type::conditional) {}
};

// --- statements ------------------------------------------------------------------------------------------------------

struct Stmt {
  enum class Type : std::uint8_t {
    text,
    print,
    if_,
    for_,
    set,
    set_block,
    with,
    macro,
    call_block,
    filter_block,
    break_,
    continue_
  };
  const Type type;
  std::uint32_t line = 0;
  std::uint32_t depth = 1;
  explicit Stmt(Type t) : type(t) {}
  Stmt(const Stmt&) = delete;
  Stmt& operator=(const Stmt&) = delete;
  virtual ~Stmt() = default;
};
using StmtPtr = std::unique_ptr<Stmt>;
using Block = std::vector<StmtPtr>;

struct Text final : Stmt {
  std::string text;
  Text() : Stmt(Type::text) {}
};

struct Print final : Stmt {
  std::vector<ExprPtr> values;
  Print() : Stmt(Type::print) {}
};

struct If final : Stmt {
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
  If() : Stmt(Type::if_) {}
};

struct For final : Stmt {
  ExprPtr target;
  ExprPtr iterable;
  ExprPtr test;  ///< `for x in y if test`; may be absent
  bool recursive = false;
  bool has_else = false;
  Block body;
  Block otherwise;
  bool uses_loop = false;
  Slot loop;            ///< where the loop variable lives, when it is used
  ExprPtr test_target;  ///< the target again, in the scope of the test
  Scope body_scope;
  Scope else_scope;
  Scope test_scope;
  std::uint32_t slots = 0;  ///< of a recursive loop's activation
  For() : Stmt(Type::for_) {}
};

struct Set final : Stmt {
  ExprPtr target;
  ExprPtr value;
  Set() : Stmt(Type::set) {}
};

struct SetBlock final : Stmt {
  ExprPtr target;
  ExprPtr filter;  ///< chain of filters, innermost without operand; may be absent
  Block body;
  Scope scope;
  SetBlock() : Stmt(Type::set_block) {}
};

struct With final : Stmt {
  std::vector<std::pair<ExprPtr, ExprPtr>> bindings;
  Block body;
  Scope scope;
  With() : Stmt(Type::with) {}
};

/// What a macro and the body of a call block share.
struct Callable {
  std::string name;
  std::vector<std::unique_ptr<Name>> parameters;
  std::vector<ExprPtr> defaults;  ///< of the last parameters
  Block body;
  Scope scope;
  std::uint32_t slots = 0;
  bool takes_caller = false;
  bool takes_kwargs = false;
  bool takes_varargs = false;
  std::uint32_t caller = 0;
  std::uint32_t kwargs = 0;
  std::uint32_t varargs = 0;
};

struct Macro final : Stmt {
  Callable callable;
  ExprPtr target;  ///< the name it is stored under
  Macro() : Stmt(Type::macro) {}
};

/// `{% call %}` and `{% generation %}`, which is a call block that calls nothing.
struct CallBlock final : Stmt {
  Callable callable;
  ExprPtr call;  ///< absent for generation
  CallBlock() : Stmt(Type::call_block) {}
};

struct FilterBlock final : Stmt {
  ExprPtr filter;
  Block body;
  Scope scope;
  FilterBlock() : Stmt(Type::filter_block) {}
};

struct Jump final : Stmt {  // break or continue
  explicit Jump(Type t) : Stmt(t) {}
};

/// A parsed and resolved template.
struct Program {
  Block body;
  Scope scope;
  std::uint32_t slots = 0;
  std::uint32_t constants = 0;
  std::vector<std::string> names;  ///< variables that the render must provide, or a global
};

}  // namespace jinja

TRITIUM_NAMESPACE_END
