// SPDX-License-Identifier: Apache-2.0
// The resolver: gives every variable of a template a slot, by Jinja's rules of scope.
//
// Loops, macros, call blocks, filter blocks, set blocks and `with` open scopes; `if` does not. A name that a scope
// assigns belongs to it from the start: it begins with the value of the enclosing scope (for a loop, anew in each
// round), or, if no enclosing scope knows it, with the variable passed to the render when some path only reads it or
// assigns it in a branch, and unset otherwise. A name that a scope only reads is the enclosing scope's variable itself.
// Macros, call blocks and recursive loops run in activations of their own and see the others through a chain of them.
// Source: the behaviour of Jinja 3.1's compiler, which does the same analysis to emit Python's local variables.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tritium/core/status.h"
#include "tritium/text/jinja/builtins.h"
#include "tritium/text/jinja/lexer.h"
#include "tritium/text/jinja/syntax.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

class Resolver {
 public:
  /// Fills in the slots of `program`. Errors: invalid_argument for filters and tests that do not exist and for names
  /// used where Jinja gives them no scope.
  static Status run(Program& program) {
    Resolver resolver(program);
    Activation root;
    Symbols symbols(nullptr, &root, false);
    resolver.collect(program.body, symbols, false);
    TRITIUM_TRY(resolver.resolve(program.body, symbols, false));
    if (resolver.uses_self_) {
      return make_error(Errc::unsupported, "a chat template cannot use 'self'", "template", "no reference to blocks",
                        "self");
    }
    program.scope = symbols.scope();
    program.slots = root.slots;
    return {};
  }

 private:
  // One run-time frame: the template, a macro, a call block or a recursive loop.
  struct Activation {
    Activation* outer = nullptr;
    std::uint32_t slots = 0;
    std::unordered_map<std::uint64_t, std::uint32_t> slot_of;
  };

  // Variables of one scope. Scopes of one level in one activation never live at the same time and share slots by name.
  struct Symbols {
    Symbols(Symbols* outer_, Activation* activation_, bool of_test_)
        : outer(outer_), activation(activation_), level(outer_ == nullptr ? 0 : outer_->level + 1), of_test(of_test_) {}
    Symbols* outer;
    Activation* activation;
    std::uint32_t level;
    bool of_test;  // the test of a for runs while the body is suspended: its variables are apart
    std::unordered_map<std::uint32_t, std::size_t> by_name;
    std::vector<Load> loads;

    Scope scope() const { return {loads}; }
    Load* find(std::uint32_t name) {
      const auto i = by_name.find(name);
      return i == by_name.end() ? nullptr : &loads[i->second];
    }
    Load& define(std::uint32_t name, Load::From from) {
      const std::uint64_t key = (std::uint64_t{level * 2 + (of_test ? 1u : 0u)} << 32) | name;
      const auto [slot, fresh] = activation->slot_of.try_emplace(key, activation->slots);
      if (fresh) ++activation->slots;
      Load load;
      load.from = from;
      load.target = slot->second;
      load.name = name;
      if (Load* known = find(name)) return *known = load;
      by_name.emplace(name, loads.size());
      loads.push_back(load);
      return loads.back();
    }
  };

  explicit Resolver(Program& program) : program_(program) {}

  std::uint32_t intern(const std::string& name) {
    const auto [i, fresh] = ids_.try_emplace(name, static_cast<std::uint32_t>(program_.names.size()));
    if (fresh) program_.names.push_back(name);
    return i->second;
  }

  static bool lookup(Symbols* symbols, std::uint32_t name, const Activation* from, Slot& out) {
    for (; symbols != nullptr; symbols = symbols->outer) {
      if (const Load* load = symbols->find(name)) {
        out.hops = 0;
        for (const Activation* a = from; a != symbols->activation; a = a->outer) ++out.hops;
        out.index = load->target;
        return true;
      }
    }
    return false;
  }

  // --- which names a scope owns --------------------------------------------------------------------------------------

  void on_load(const std::string& name, Symbols& symbols) {
    const std::uint32_t id = intern(name);
    Slot slot;
    if (lookup(&symbols, id, symbols.activation, slot)) return;
    symbols.define(id, Load::From::context);
    uses_self_ = uses_self_ || name == "self";
  }
  void on_store(const std::string& name, Symbols& symbols, bool in_branch) {
    const std::uint32_t id = intern(name);
    if (symbols.find(id) != nullptr) return;
    Slot outer;
    if (lookup(symbols.outer, id, symbols.activation, outer)) {
      symbols.define(id, Load::From::outer).outer = outer;
    } else {
      symbols.define(id, in_branch ? Load::From::context : Load::From::nothing);
    }
  }

  void collect(const Expr* e, Symbols& symbols, bool in_branch) {
    if (e == nullptr) return;
    if (e->type == Expr::Type::name) {
      const auto& name = static_cast<const Name&>(*e);
      if (name.use == Name::Use::load) on_load(name.text, symbols);
      else if (name.use == Name::Use::store) on_store(name.text, symbols, in_branch);
      else symbols.define(intern(name.text), Load::From::parameter);
      return;
    }
    if (e->type == Expr::Type::namespace_attribute) on_load(static_cast<const NamespaceAttribute&>(*e).text, symbols);
    each_child(*e, [&](const Expr* child) {
      collect(child, symbols, in_branch);
      return true;
    });
  }

  void collect(const Block& body, Symbols& symbols, bool in_branch) {
    for (const StmtPtr& s : body) {
      switch (s->type) {
        case Stmt::Type::text:
        case Stmt::Type::break_:
        case Stmt::Type::continue_: break;
        case Stmt::Type::print:
          for (const ExprPtr& e : static_cast<const Print&>(*s).values) collect(e.get(), symbols, in_branch);
          break;
        case Stmt::Type::if_: {
          const auto& node = static_cast<const If&>(*s);
          for (const auto& [test, then] : node.branches) {
            collect(test.get(), symbols, in_branch);
            collect(then, symbols, true);
          }
          collect(node.otherwise, symbols, true);
          break;
        }
        case Stmt::Type::for_: collect(static_cast<const For&>(*s).iterable.get(), symbols, in_branch); break;
        case Stmt::Type::set:
          collect(static_cast<const Set&>(*s).value.get(), symbols, in_branch);
          collect(static_cast<const Set&>(*s).target.get(), symbols, in_branch);
          break;
        case Stmt::Type::set_block: collect(static_cast<const SetBlock&>(*s).target.get(), symbols, in_branch); break;
        case Stmt::Type::with:
          for (const auto& [target, value] : static_cast<const With&>(*s).bindings)
            collect(value.get(), symbols, in_branch);
          break;
        case Stmt::Type::macro: on_store(static_cast<const Macro&>(*s).callable.name, symbols, in_branch); break;
        case Stmt::Type::call_block: collect(static_cast<const CallBlock&>(*s).call.get(), symbols, in_branch); break;
        case Stmt::Type::filter_block:
          collect(static_cast<const FilterBlock&>(*s).filter.get(), symbols, in_branch);
          break;
      }
    }
  }

  // The names of a for's target are set anew in each round.
  void declare_target(const Expr& e, Symbols& symbols) {
    if (e.type == Expr::Type::name) {
      symbols.define(intern(static_cast<const Name&>(e).text), Load::From::parameter);
    } else if (e.type == Expr::Type::tuple) {
      for (const ExprPtr& item : static_cast<const Sequence&>(e).items) declare_target(*item, symbols);
    }
  }
  static ExprPtr copy_target(const Expr& e) {
    if (e.type == Expr::Type::name) {
      auto copy = std::make_unique<Name>();
      copy->text = static_cast<const Name&>(e).text;
      copy->use = Name::Use::store;
      copy->line = e.line;
      return copy;
    }
    auto copy = std::make_unique<Sequence>(Expr::Type::tuple);
    copy->line = e.line;
    for (const ExprPtr& item : static_cast<const Sequence&>(e).items) copy->items.push_back(copy_target(*item));
    return copy;
  }

  // --- slots ---------------------------------------------------------------------------------------------------------

  Error unknown_name(const std::string& name, std::uint32_t line) const {
    return template_error(Errc::invalid_argument, "a name is used where Jinja gives it no scope", line, "a variable",
                          name);
  }

  // `soft`: inside an if or a conditional expression, where unknown filters are an error only when they are reached.
  Status resolve(Expr* e, Symbols& symbols, bool soft) {
    if (e == nullptr) return {};
    switch (e->type) {
      case Expr::Type::name: {
        auto& name = static_cast<Name&>(*e);
        if (!lookup(&symbols, intern(name.text), symbols.activation, name.slot))
          return unknown_name(name.text, e->line);
        break;
      }
      case Expr::Type::namespace_attribute: {
        auto& name = static_cast<NamespaceAttribute&>(*e);
        if (!lookup(&symbols, intern(name.text), symbols.activation, name.slot))
          return unknown_name(name.text, e->line);
        break;
      }
      case Expr::Type::filter:
      case Expr::Type::test: {
        auto& node = static_cast<Apply&>(*e);
        const bool filter = e->type == Expr::Type::filter;
        node.function = filter ? find_name(kFilterNames, node.name) : find_name(kTestNames, node.name);
        if (node.function == kUnknownFunction && !soft) {
          return template_error(Errc::invalid_argument, filter ? "no such filter" : "no such test", e->line,
                                filter ? "a filter of Jinja" : "a test of Jinja", node.name.substr(0, 60));
        }
        break;
      }
      case Expr::Type::conditional: soft = true; break;
      default: break;
    }
    Status status;
    each_child(*e, [&](Expr* child) {
      status = resolve(child, symbols, soft);
      return status.ok();
    });
    return status;
  }

  Status resolve(Block& body, Symbols& symbols, bool soft) {
    for (const StmtPtr& s : body) TRITIUM_TRY(resolve(*s, symbols, soft));
    return {};
  }

  Status resolve(Stmt& s, Symbols& symbols, bool soft) {
    switch (s.type) {
      case Stmt::Type::text:
      case Stmt::Type::break_:
      case Stmt::Type::continue_: return {};
      case Stmt::Type::print:
        for (const ExprPtr& e : static_cast<Print&>(s).values) TRITIUM_TRY(resolve(e.get(), symbols, soft));
        return {};
      case Stmt::Type::if_: {
        auto& node = static_cast<If&>(s);
        for (auto& [test, then] : node.branches) {
          TRITIUM_TRY(resolve(test.get(), symbols, true));
          TRITIUM_TRY(resolve(then, symbols, true));
        }
        return resolve(node.otherwise, symbols, true);
      }
      case Stmt::Type::for_: return resolve_for(static_cast<For&>(s), symbols, soft);
      case Stmt::Type::set:
        TRITIUM_TRY(resolve(static_cast<Set&>(s).value.get(), symbols, soft));
        return resolve(static_cast<Set&>(s).target.get(), symbols, soft);
      case Stmt::Type::set_block: {
        auto& node = static_cast<SetBlock&>(s);
        Symbols inner(&symbols, symbols.activation, false);
        collect(node.body, inner, false);
        TRITIUM_TRY(resolve(node.body, inner, false));
        TRITIUM_TRY(resolve(node.target.get(), symbols, soft));
        TRITIUM_TRY(resolve(node.filter.get(), inner, false));
        node.scope = inner.scope();
        return {};
      }
      case Stmt::Type::filter_block: {
        auto& node = static_cast<FilterBlock&>(s);
        Symbols inner(&symbols, symbols.activation, false);
        collect(node.body, inner, false);
        collect(node.filter.get(), inner, false);
        TRITIUM_TRY(resolve(node.body, inner, false));
        TRITIUM_TRY(resolve(node.filter.get(), inner, false));
        node.scope = inner.scope();
        return {};
      }
      case Stmt::Type::with: {
        auto& node = static_cast<With&>(s);
        Symbols inner(&symbols, symbols.activation, false);
        for (const auto& [target, value] : node.bindings) collect(target.get(), inner, false);
        collect(node.body, inner, false);
        for (auto& [target, value] : node.bindings) {
          TRITIUM_TRY(resolve(value.get(), symbols, soft));
          TRITIUM_TRY(resolve(target.get(), inner, false));
        }
        TRITIUM_TRY(resolve(node.body, inner, false));
        node.scope = inner.scope();
        return {};
      }
      case Stmt::Type::macro: {
        auto& node = static_cast<Macro&>(s);
        TRITIUM_TRY(resolve_callable(node.callable, symbols, s.line));
        return resolve(node.target.get(), symbols, soft);
      }
      case Stmt::Type::call_block: {
        auto& node = static_cast<CallBlock&>(s);
        TRITIUM_TRY(resolve_callable(node.callable, symbols, s.line));
        return resolve(node.call.get(), symbols, soft);
      }
    }
    return {};
  }

  Status resolve_for(For& node, Symbols& symbols, bool soft) {
    Activation recursion;
    recursion.outer = symbols.activation;
    Activation* activation = node.recursive ? &recursion : symbols.activation;
    Symbols body(&symbols, activation, false);
    Symbols test(&symbols, activation, true);
    Symbols otherwise(&symbols, activation, false);

    node.uses_loop = node.recursive || first_use_is_load(node.body, "loop");
    if (node.uses_loop) node.loop.index = body.define(intern("loop"), Load::From::parameter).target;
    declare_target(*node.target, body);
    collect(node.body, body, false);
    collect(node.otherwise, otherwise, false);
    if (node.test != nullptr) {
      node.test_target = copy_target(*node.target);
      declare_target(*node.target, test);
      collect(node.test.get(), test, false);
      TRITIUM_TRY(resolve(node.test_target.get(), test, false));
      TRITIUM_TRY(resolve(node.test.get(), test, false));
    }
    TRITIUM_TRY(resolve(node.iterable.get(), symbols, soft));
    TRITIUM_TRY(resolve(node.target.get(), body, false));
    TRITIUM_TRY(resolve(node.body, body, false));
    TRITIUM_TRY(resolve(node.otherwise, otherwise, false));
    node.body_scope = body.scope();
    node.test_scope = test.scope();
    node.else_scope = otherwise.scope();
    node.slots = recursion.slots;
    return {};
  }

  Status resolve_callable(Callable& node, Symbols& symbols, std::uint32_t line) {
    Activation activation;
    activation.outer = symbols.activation;
    Symbols inner(&symbols, &activation, false);
    bool has_caller = false;
    bool has_kwargs = false;
    bool has_varargs = false;
    for (std::size_t i = 0; i < node.parameters.size(); ++i) {
      const std::string& name = node.parameters[i]->text;
      inner.define(intern(name), Load::From::parameter);
      has_kwargs = has_kwargs || name == "kwargs";
      has_varargs = has_varargs || name == "varargs";
      if (name == "caller") {
        has_caller = true;
        if (i + node.defaults.size() < node.parameters.size() && first_use_is_load(node.body, name)) {
          return template_error(Errc::invalid_argument, "the parameter 'caller' needs a default value", line);
        }
      }
    }
    for (const ExprPtr& value : node.defaults) collect(value.get(), inner, false);
    collect(node.body, inner, false);
    const auto special = [&](const char* name, bool named, bool& takes, std::uint32_t& slot) {
      if (!first_use_is_load(node.body, name)) return;
      takes = true;
      if (!named) slot = inner.define(intern(name), Load::From::parameter).target;
    };
    special("caller", has_caller, node.takes_caller, node.caller);
    if (!has_kwargs) special("kwargs", false, node.takes_kwargs, node.kwargs);
    if (!has_varargs) special("varargs", false, node.takes_varargs, node.varargs);
    for (const auto& parameter : node.parameters) TRITIUM_TRY(resolve(parameter.get(), inner, false));
    for (const ExprPtr& value : node.defaults) TRITIUM_TRY(resolve(value.get(), inner, false));
    TRITIUM_TRY(resolve(node.body, inner, false));
    node.scope = inner.scope();
    node.slots = activation.slots;
    return {};
  }

  // --- walking -------------------------------------------------------------------------------------------------------

  template <class E, class Visit>
  static bool each_argument(E& arguments, Visit& visit) {
    for (auto& a : arguments.positional) {
      if (!visit(a.get())) return false;
    }
    for (auto& a : arguments.named) {
      if (!visit(a.second.get())) return false;
    }
    return visit(arguments.star.get()) && visit(arguments.star_star.get());
  }

  template <class To, class E>
  static auto& as(E& e) {
    if constexpr (std::is_const_v<E>) return static_cast<const To&>(e);
    else return static_cast<To&>(e);
  }

  // Calls `visit` for each part of `e` in the order of Jinja's nodes, until it says false. Parts may be null.
  template <class E, class Visit>
  static bool each_child(E& e, Visit visit) {
    using Part = std::conditional_t<std::is_const_v<E>, const Expr*, Expr*>;
    const auto see = [&](const ExprPtr& part) { return visit(static_cast<Part>(part.get())); };
    switch (e.type) {
      case Expr::Type::constant:
      case Expr::Type::name:
      case Expr::Type::namespace_attribute: return true;
      case Expr::Type::tuple:
      case Expr::Type::list:
        for (auto& item : as<Sequence>(e).items) {
          if (!see(item)) return false;
        }
        return true;
      case Expr::Type::dict:
        for (auto& [key, value] : as<DictLiteral>(e).items) {
          if (!see(key) || !see(value)) return false;
        }
        return true;
      case Expr::Type::unary: return see(as<Unary>(e).operand);
      case Expr::Type::binary: return see(as<Binary>(e).left) && see(as<Binary>(e).right);
      case Expr::Type::logic: return see(as<Logic>(e).left) && see(as<Logic>(e).right);
      case Expr::Type::concat:
        for (auto& part : as<Concat>(e).parts) {
          if (!see(part)) return false;
        }
        return true;
      case Expr::Type::compare:
        if (!see(as<Compare>(e).first)) return false;
        for (auto& [op, operand] : as<Compare>(e).rest) {
          if (!see(operand)) return false;
        }
        return true;
      case Expr::Type::attribute: return see(as<Attribute>(e).object);
      case Expr::Type::subscript: return see(as<Subscript>(e).object) && see(as<Subscript>(e).index);
      case Expr::Type::slice: return see(as<Slice>(e).start) && see(as<Slice>(e).stop) && see(as<Slice>(e).step);
      case Expr::Type::call: return see(as<Call>(e).callee) && each_argument(as<Call>(e).arguments, visit);
      case Expr::Type::filter:
      case Expr::Type::test: return see(as<Apply>(e).operand) && each_argument(as<Apply>(e).arguments, visit);
      case Expr::Type::conditional:
        return see(as<Conditional>(e).test) && see(as<Conditional>(e).then) && see(as<Conditional>(e).otherwise);
    }
    return true;
  }

  // The names with a meaning of their own, and what a body does with each of them first.
  static constexpr std::array<std::string_view, 4> kSpecialNames = {"loop", "caller", "kwargs", "varargs"};
  enum class Use : std::uint8_t { none, load, other };
  using Uses = std::array<Use, kSpecialNames.size()>;

  static void note(std::string_view name, Use use, Uses& uses) {
    for (std::size_t i = 0; i < uses.size(); ++i) {
      if (uses[i] == Use::none && kSpecialNames[i] == name) uses[i] = use;
    }
  }
  void see(const ExprPtr& e, Uses& uses) { see(e.get(), uses); }
  void see(const Expr* e, Uses& uses) {
    if (e == nullptr) return;
    if (e->type == Expr::Type::name) {
      const auto& name = static_cast<const Name&>(*e);
      note(name.text, name.use == Name::Use::load ? Use::load : Use::other, uses);
    }
    each_child(*e, [&](const Expr* child) {
      see(child, uses);
      return true;
    });
  }
  void see(const Block& body, Uses& uses) {
    const Uses inner = first_uses(body);
    for (std::size_t i = 0; i < uses.size(); ++i) {
      if (uses[i] == Use::none) uses[i] = inner[i];
    }
  }
  void see(const Callable& node, Uses& uses) {
    for (const auto& parameter : node.parameters) note(parameter->text, Use::other, uses);
    for (const ExprPtr& value : node.defaults) see(value, uses);
    see(node.body, uses);
  }
  void see(const Stmt& s, Uses& uses) {
    const auto all = [&](const auto&... parts) { (see(parts, uses), ...); };
    switch (s.type) {
      case Stmt::Type::text:
      case Stmt::Type::break_:
      case Stmt::Type::continue_: break;
      case Stmt::Type::print:
        for (const ExprPtr& e : static_cast<const Print&>(s).values) see(e, uses);
        break;
      case Stmt::Type::if_:
        for (const auto& [test, then] : static_cast<const If&>(s).branches) all(test, then);
        see(static_cast<const If&>(s).otherwise, uses);
        break;
      case Stmt::Type::for_: {
        const auto& node = static_cast<const For&>(s);
        all(node.target, node.iterable, node.body, node.otherwise, node.test);
        break;
      }
      case Stmt::Type::set: all(static_cast<const Set&>(s).target, static_cast<const Set&>(s).value); break;
      case Stmt::Type::set_block: {
        const auto& node = static_cast<const SetBlock&>(s);
        all(node.target, node.filter, node.body);
        break;
      }
      case Stmt::Type::with: {
        const auto& node = static_cast<const With&>(s);
        for (const auto& [target, value] : node.bindings) see(target, uses);
        for (const auto& [target, value] : node.bindings) see(value, uses);
        see(node.body, uses);
        break;
      }
      case Stmt::Type::macro: see(static_cast<const Macro&>(s).callable, uses); break;
      case Stmt::Type::call_block:
        all(static_cast<const CallBlock&>(s).call, static_cast<const CallBlock&>(s).callable);
        break;
      case Stmt::Type::filter_block:
        all(static_cast<const FilterBlock&>(s).body, static_cast<const FilterBlock&>(s).filter);
        break;
    }
  }
  // Each body is walked once, however many loops and macros around it ask.
  Uses first_uses(const Block& body) {
    if (const auto known = uses_.find(&body); known != uses_.end()) return known->second;
    Uses uses{};
    for (const StmtPtr& s : body) see(*s, uses);
    uses_.emplace(&body, uses);
    return uses;
  }
  bool first_use_is_load(const Block& body, std::string_view name) {
    const Uses uses = first_uses(body);
    for (std::size_t i = 0; i < uses.size(); ++i) {
      if (kSpecialNames[i] == name) return uses[i] == Use::load;
    }
    return false;
  }

  Program& program_;
  std::unordered_map<const Block*, Uses> uses_;
  std::unordered_map<std::string, std::uint32_t> ids_;
  bool uses_self_ = false;
};

}  // namespace jinja

TRITIUM_NAMESPACE_END
