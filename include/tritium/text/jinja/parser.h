// SPDX-License-Identifier: Apache-2.0
// Tokens to a syntax tree, with Jinja's grammar and its precedence.
//
// Recursive descent, one function for each level of precedence. Jinja differs from Python in places that templates
// rely on: `~` binds between `+` and `*`, a minus sign belongs to the operand before `**`, filters and tests bind to
// the nearest operand, and any name may be used as a variable. Two counters keep hostile input from the stack: how deep
// the parser is, and how deep the tree is (long chains are deep trees without deep recursion). Source: Jinja 3.1's
// grammar as its documentation and behaviour show it; the tests compare with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tritium/core/status.h"
#include "tritium/text/jinja/lexer.h"
#include "tritium/text/jinja/syntax.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

class Parser {
 public:
  /// The tree of `source`, not yet resolved. Errors: invalid_argument for bad syntax, unsupported for tags that need
  /// other templates, out_of_range for nesting past `max_depth`.
  static Result<std::unique_ptr<Program>> run(std::string_view source, std::uint32_t max_depth) {
    TRITIUM_ASSIGN(std::vector<Token> tokens, Lexer::run(source));
    Parser parser(std::move(tokens), max_depth);
    auto program = std::make_unique<Program>();
    TRITIUM_ASSIGN(program->body, parser.block({}));
    program->constants = parser.constants_;
    return program;
  }

 private:
  using Type = Token::Type;

  Parser(std::vector<Token> tokens, std::uint32_t max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}

  // --- tokens --------------------------------------------------------------------------------------------------------

  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool is_op(std::string_view text) const { return current().type == Type::op && current().text == text; }
  bool is_name(std::string_view text) const { return current().type == Type::name && current().text == text; }
  bool skip_op(std::string_view text) {
    if (!is_op(text)) return false;
    next();
    return true;
  }
  bool skip_name(std::string_view text) {
    if (!is_name(text)) return false;
    next();
    return true;
  }

  static std::string describe(const Token& t) {
    switch (t.type) {
      case Type::data: return "text";
      case Type::variable_begin: return "'{{'";
      case Type::variable_end: return "'}}'";
      case Type::block_begin: return "'{%'";
      case Type::block_end: return "'%}'";
      case Type::string: return "a string";
      case Type::integer: return "an integer";
      case Type::real: return "a float";
      case Type::end: return "the end of the template";
      default: break;
    }
    return "'" + (t.text.size() > 60 ? std::string("a long name") : t.text) + "'";
  }
  Error unexpected(std::string_view expected) const {
    return template_error(Errc::invalid_argument, "the template does not parse", current().line, expected,
                          describe(current()));
  }
  Status expect_op(std::string_view text) {
    if (!skip_op(text)) return unexpected("'" + std::string(text) + "'");
    return {};
  }
  Status expect(Type type, std::string_view what) {
    if (current().type != type) return unexpected(what);
    next();
    return {};
  }
  Result<std::string> expect_identifier() {
    if (current().type != Type::name) return unexpected("a name");
    std::string text = current().text;
    next();
    return text;
  }

  // --- depth ---------------------------------------------------------------------------------------------------------

  Error too_deep() const {
    return template_error(Errc::out_of_range, "the template is nested too deeply", current().line,
                          "at most " + std::to_string(max_depth_) + " levels", "more");
  }
  static constexpr std::uint32_t kOperationsPerLevel = 4;
  struct Level {
    explicit Level(std::uint32_t& depth) : depth_(depth) { ++depth_; }
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    std::uint32_t& depth_;
  };
  template <class Node>
  std::unique_ptr<Node> make(std::uint32_t line) {
    auto node = std::make_unique<Node>();
    node->line = line;
    return node;
  }
  template <class Node>
  std::unique_ptr<Node> make(typename Node::Type type, std::uint32_t line) {
    auto node = std::make_unique<Node>(type);
    node->line = line;
    return node;
  }
  template <class Parent, class Child>
  static void above(Parent& parent, const Child& child) {
    if (child != nullptr) parent.depth = std::max(parent.depth, child->depth + 1);
  }
  template <class Parent>
  static void above(Parent& parent, const Block& body) {
    for (const StmtPtr& s : body) above(parent, s);
  }
  template <class Parent>
  static void above(Parent& parent, const Arguments& arguments) {
    for (const ExprPtr& e : arguments.positional) above(parent, e);
    for (const auto& [name, e] : arguments.named) above(parent, e);
    above(parent, arguments.star);
    above(parent, arguments.star_star);
  }
  // The finished node, or an error when it is too deep.
  template <class Node>
  Result<ExprPtr> done(std::unique_ptr<Node> node) const {
    if (node->depth > max_depth_) return too_deep();
    return ExprPtr(std::move(node));
  }
  template <class Node>
  Result<StmtPtr> statement_done(std::unique_ptr<Node> node) const {
    if (node->depth > max_depth_) return too_deep();
    return StmtPtr(std::move(node));
  }

  // --- statements ----------------------------------------------------------------------------------------------------

  // Statements up to one of the `ends` (which is left as the current token) or, without ends, to the end.
  Result<Block> block(std::initializer_list<std::string_view> ends) {
    const Level level(nesting_);
    if (nesting_ > max_depth_) return too_deep();
    Block body;
    while (current().type != Type::end) {
      const std::uint32_t line = current().line;
      if (current().type == Type::data) {
        auto text = make<Text>(line);
        text->text = current().text;
        body.push_back(std::move(text));
        next();
      } else if (current().type == Type::variable_begin) {
        next();
        auto print = make<Print>(line);
        TRITIUM_ASSIGN(ExprPtr value, tuple({}, true, false));
        above(*print, value);
        print->values.push_back(std::move(value));
        TRITIUM_TRY(expect(Type::variable_end, "'}}'"));
        TRITIUM_ASSIGN(StmtPtr done_print, statement_done(std::move(print)));
        body.push_back(std::move(done_print));
      } else {
        next();  // block_begin: data and tags are the only tokens outside tags
        if (current().type == Type::name) {
          for (const std::string_view end : ends) {
            if (current().text == end) return body;
          }
        }
        TRITIUM_ASSIGN(StmtPtr s, statement());
        if (s != nullptr) body.push_back(std::move(s));
        TRITIUM_TRY(expect(Type::block_end, "'%}'"));
      }
    }
    if (ends.size() != 0) {
      std::string wanted;
      for (const std::string_view end : ends)
        wanted.append(wanted.empty() ? "'{% " : " or '{% ").append(end).append(" %}'");
      return unexpected(wanted);
    }
    return body;
  }

  // The body of a statement: an optional colon, the end of the tag, then statements up to `ends`.
  Result<Block> body(std::initializer_list<std::string_view> ends) {
    skip_op(":");
    TRITIUM_TRY(expect(Type::block_end, "'%}'"));
    return block(ends);
  }
  // The same where only one end is possible, which is skipped.
  Result<Block> whole_body(std::string_view end) {
    TRITIUM_ASSIGN(Block result, body({end}));
    next();
    return result;
  }

  Result<StmtPtr> statement() {
    if (current().type != Type::name) return unexpected("the name of a tag");
    const std::string& tag = current().text;
    const std::uint32_t line = current().line;
    if (tag == "if") return if_statement();
    if (tag == "for") return for_statement();
    if (tag == "set") return set_statement();
    if (tag == "macro") return macro_statement();
    if (tag == "call") return call_statement();
    if (tag == "filter") return filter_statement();
    if (tag == "with") return with_statement();
    if (tag == "print") return print_statement();
    if (tag == "generation") {
      next();
      auto node = make<CallBlock>(line);
      const LoopState outside(in_loop_);
      TRITIUM_ASSIGN(node->callable.body, whole_body("endgeneration"));
      above(*node, node->callable.body);
      return statement_done(std::move(node));
    }
    if (tag == "break" || tag == "continue") {
      if (!in_loop_) {
        return template_error(Errc::invalid_argument, "'" + tag + "' stands outside a loop", line);
      }
      const auto type = tag == "break" ? Stmt::Type::break_ : Stmt::Type::continue_;
      next();
      return statement_done(make<Jump>(type, line));
    }
    for (const std::string_view other : {"include", "extends", "import", "from", "block", "autoescape"}) {
      if (tag == other) {
        return template_error(Errc::unsupported, "a chat template cannot use '" + tag + "'", line,
                              "a tag that needs no other template", tag);
      }
    }
    return unexpected("a known tag");
  }

  struct LoopState {  // break and continue do not cross the body of a callable
    explicit LoopState(bool& flag, bool value = false) : flag_(flag), saved_(flag) { flag_ = value; }
    ~LoopState() { flag_ = saved_; }
    LoopState(const LoopState&) = delete;
    LoopState& operator=(const LoopState&) = delete;
    bool& flag_;
    bool saved_;
  };

  Result<StmtPtr> if_statement() {
    auto node = make<If>(current().line);
    while (true) {  // at `if` or `elif`
      next();
      TRITIUM_ASSIGN(ExprPtr test, tuple({}, false, false));
      TRITIUM_ASSIGN(Block then, body({"elif", "else", "endif"}));
      above(*node, test);
      above(*node, then);
      node->branches.emplace_back(std::move(test), std::move(then));
      if (is_name("elif")) continue;
      if (skip_name("else")) {
        TRITIUM_ASSIGN(node->otherwise, body({"endif"}));
        above(*node, node->otherwise);
      }
      next();
      return statement_done(std::move(node));
    }
  }

  Result<StmtPtr> for_statement() {
    auto node = make<For>(current().line);
    next();
    ++for_nesting_;
    TRITIUM_ASSIGN(node->target, assign_target(false, "in", Name::Use::store));
    if (!skip_name("in")) return unexpected("'in'");
    TRITIUM_ASSIGN(node->iterable, tuple("recursive", false, false));
    if (skip_name("if")) {
      TRITIUM_ASSIGN(node->test, expression());
    }
    node->recursive = skip_name("recursive");
    {
      const LoopState inside(in_loop_, true);
      TRITIUM_ASSIGN(node->body, body({"endfor", "else"}));
    }
    if (skip_name("else")) {
      node->has_else = true;
      const LoopState of_else(in_loop_, in_loop_ && !node->recursive);
      TRITIUM_ASSIGN(node->otherwise, body({"endfor"}));
    }
    --for_nesting_;
    next();
    if (stores_loop_) {
      return template_error(Errc::invalid_argument, "the special variable 'loop' is assigned inside a for", node->line);
    }
    above(*node, node->target);
    above(*node, node->iterable);
    above(*node, node->test);
    above(*node, node->body);
    above(*node, node->otherwise);
    return statement_done(std::move(node));
  }

  Result<StmtPtr> set_statement() {
    const std::uint32_t line = current().line;
    next();
    TRITIUM_ASSIGN(ExprPtr target, assign_target(true, {}, Name::Use::store));
    if (skip_op("=")) {
      auto node = make<Set>(line);
      node->target = std::move(target);
      TRITIUM_ASSIGN(node->value, tuple({}, true, false));
      above(*node, node->target);
      above(*node, node->value);
      return statement_done(std::move(node));
    }
    auto node = make<SetBlock>(line);
    node->target = std::move(target);
    if (is_op("|")) {
      TRITIUM_ASSIGN(node->filter, filters(nullptr, false));
    }
    TRITIUM_ASSIGN(node->body, whole_body("endset"));
    above(*node, node->target);
    above(*node, node->filter);
    above(*node, node->body);
    return statement_done(std::move(node));
  }

  // `(a, b=1)` of a macro or a call block.
  Status signature(Callable& callable) {
    TRITIUM_TRY(expect_op("("));
    while (!is_op(")")) {
      if (!callable.parameters.empty()) TRITIUM_TRY(expect_op(","));
      auto parameter = make<Name>(current().line);
      TRITIUM_ASSIGN(parameter->text, expect_identifier());
      TRITIUM_TRY(check_target(parameter->text));
      parameter->use = Name::Use::parameter;
      for (const auto& other : callable.parameters) {
        if (other->text == parameter->text) {
          return template_error(Errc::invalid_argument, "a parameter is named twice", parameter->line,
                                "different names", parameter->text);
        }
      }
      if (skip_op("=")) {
        TRITIUM_ASSIGN(ExprPtr value, expression());
        callable.defaults.push_back(std::move(value));
      } else if (!callable.defaults.empty()) {
        return unexpected("a default value, as for the parameter before");
      }
      callable.parameters.push_back(std::move(parameter));
    }
    next();
    return {};
  }

  template <class Node>
  static void above_callable(Node& node) {
    for (const auto& parameter : node.callable.parameters) above(node, parameter);
    for (const ExprPtr& value : node.callable.defaults) above(node, value);
    above(node, node.callable.body);
  }

  Result<StmtPtr> macro_statement() {
    auto node = make<Macro>(current().line);
    next();
    auto target = make<Name>(current().line);
    TRITIUM_ASSIGN(target->text, expect_identifier());
    TRITIUM_TRY(check_target(target->text));
    target->use = Name::Use::store;
    node->callable.name = target->text;
    node->target = std::move(target);
    TRITIUM_TRY(signature(node->callable));
    const LoopState outside(in_loop_);
    TRITIUM_ASSIGN(node->callable.body, whole_body("endmacro"));
    above_callable(*node);
    return statement_done(std::move(node));
  }

  Result<StmtPtr> call_statement() {
    auto node = make<CallBlock>(current().line);
    next();
    if (is_op("(")) TRITIUM_TRY(signature(node->callable));
    TRITIUM_ASSIGN(node->call, expression());
    if (node->call->type != Expr::Type::call) return unexpected("a call before it");
    const LoopState outside(in_loop_);
    TRITIUM_ASSIGN(node->callable.body, whole_body("endcall"));
    above_callable(*node);
    above(*node, node->call);
    return statement_done(std::move(node));
  }

  Result<StmtPtr> filter_statement() {
    auto node = make<FilterBlock>(current().line);
    next();
    TRITIUM_ASSIGN(node->filter, filters(nullptr, true));
    TRITIUM_ASSIGN(node->body, whole_body("endfilter"));
    above(*node, node->filter);
    above(*node, node->body);
    return statement_done(std::move(node));
  }

  Result<StmtPtr> with_statement() {
    auto node = make<With>(current().line);
    next();
    while (current().type != Type::block_end) {
      if (!node->bindings.empty()) TRITIUM_TRY(expect_op(","));
      TRITIUM_ASSIGN(ExprPtr target, assign_target(false, {}, Name::Use::parameter));
      TRITIUM_TRY(expect_op("="));
      TRITIUM_ASSIGN(ExprPtr value, expression());
      above(*node, target);
      above(*node, value);
      node->bindings.emplace_back(std::move(target), std::move(value));
    }
    TRITIUM_ASSIGN(node->body, whole_body("endwith"));
    above(*node, node->body);
    return statement_done(std::move(node));
  }

  Result<StmtPtr> print_statement() {
    auto node = make<Print>(current().line);
    next();
    while (current().type != Type::block_end) {
      if (!node->values.empty()) TRITIUM_TRY(expect_op(","));
      TRITIUM_ASSIGN(ExprPtr value, expression());
      above(*node, value);
      node->values.push_back(std::move(value));
    }
    return statement_done(std::move(node));
  }

  // --- targets of assignments ----------------------------------------------------------------------------------------

  static bool is_literal_name(std::string_view text) {
    return text == "true" || text == "false" || text == "none" || text == "True" || text == "False" || text == "None";
  }
  Status check_target(std::string_view text) const {
    if (is_literal_name(text)) return unexpected("a name that can be assigned before it");
    return {};
  }
  void note_store(std::string_view text) {
    if (for_nesting_ > 0 && text == "loop") stores_loop_ = true;
  }

  // A name, an attribute of a namespace, or a tuple of these.
  Result<ExprPtr> assign_target(bool with_namespace, std::string_view end, Name::Use use) {
    TRITIUM_ASSIGN(ExprPtr target, tuple(end, true, true, with_namespace));
    TRITIUM_TRY(make_target(*target, use));
    return target;
  }
  Status make_target(Expr& e, Name::Use use) {
    if (e.type == Expr::Type::name) {
      auto& name = static_cast<Name&>(e);
      name.use = use;
      if (use == Name::Use::store) note_store(name.text);
      return {};
    }
    if (e.type == Expr::Type::namespace_attribute) return {};
    if (e.type != Expr::Type::tuple) {
      return template_error(Errc::invalid_argument, "the target cannot be assigned", e.line,
                            "a name or a tuple of names", "another expression");
    }
    for (const ExprPtr& item : static_cast<Sequence&>(e).items) TRITIUM_TRY(make_target(*item, use));
    return {};
  }

  // --- expressions ---------------------------------------------------------------------------------------------------

  // One expression, or several with commas between, which make a tuple. `simple`: names and literals only.
  Result<ExprPtr> tuple(std::string_view end, bool conditionals, bool simple, bool with_namespace = false,
                        bool parentheses = false) {
    const std::uint32_t line = current().line;
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (true) {
      if (!items.empty()) TRITIUM_TRY(expect_op(","));
      if (current().type == Type::variable_end || current().type == Type::block_end || is_op(")")) break;
      if (!end.empty() && is_name(end)) break;
      if (simple) {
        TRITIUM_ASSIGN(ExprPtr item, primary(with_namespace));
        items.push_back(std::move(item));
      } else if (conditionals) {
        TRITIUM_ASSIGN(ExprPtr item, expression());
        items.push_back(std::move(item));
      } else {
        const Level level(nesting_);
        if (nesting_ > max_depth_) return too_deep();
        TRITIUM_ASSIGN(ExprPtr item, operation(Binding::or_));
        items.push_back(std::move(item));
      }
      if (!is_op(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!items.empty()) return std::move(items[0]);
      if (!parentheses) return unexpected("an expression");
    }
    auto node = make<Sequence>(Expr::Type::tuple, line);
    for (const ExprPtr& item : items) above(*node, item);
    node->items = std::move(items);
    return done(std::move(node));
  }

  Result<ExprPtr> expression() {
    const Level level(nesting_);
    if (nesting_ > max_depth_) return too_deep();
    TRITIUM_ASSIGN(ExprPtr value, operation(Binding::or_));
    while (is_name("if")) {
      TRITIUM_ASSIGN(value, conditional(std::move(value)));
    }
    return value;
  }

  TRITIUM_NOINLINE Result<ExprPtr> conditional(ExprPtr then) {
    auto node = make<Conditional>(current().line);
    next();
    node->then = std::move(then);
    TRITIUM_ASSIGN(node->test, operation(Binding::or_));
    if (skip_name("else")) {
      TRITIUM_ASSIGN(node->otherwise, expression());
    }
    above(*node, node->then);
    above(*node, node->test);
    above(*node, node->otherwise);
    return done(std::move(node));
  }

  // How tightly operators bind, loosest first; all of them group to the left.
  enum class Binding : std::uint8_t { or_, and_, not_, compare, sum, concat, product, power, unary, none };

  Binding current_binding() const {
    const Token& t = current();
    if (t.type == Type::name) {
      if (t.text == "or") return Binding::or_;
      if (t.text == "and") return Binding::and_;
      const bool not_in = t.text == "not" && look().type == Type::name && look().text == "in";
      return t.text == "in" || not_in ? Binding::compare : Binding::none;
    }
    if (t.type != Type::op) return Binding::none;
    static constexpr std::pair<std::string_view, Binding> kOps[] = {
        {"==", Binding::compare}, {"!=", Binding::compare}, {"<", Binding::compare}, {"<=", Binding::compare},
        {">", Binding::compare},  {">=", Binding::compare}, {"+", Binding::sum},     {"-", Binding::sum},
        {"~", Binding::concat},   {"*", Binding::product},  {"/", Binding::product}, {"//", Binding::product},
        {"%", Binding::product},  {"**", Binding::power}};
    for (const auto& [text, binding] : kOps) {
      if (t.text == text) return binding;
    }
    return Binding::none;
  }

  // An operand and the operators after it that bind at least as tightly as `loosest`.
  Result<ExprPtr> operation(Binding loosest) {
    const Level level(operations_);
    if (operations_ > kOperationsPerLevel * max_depth_) return too_deep();
    ExprPtr left;
    if (loosest <= Binding::not_ && is_name("not")) {
      TRITIUM_ASSIGN(left, negation());
    } else {
      TRITIUM_ASSIGN(left, unary(true));
    }
    while (true) {
      const Binding binding = current_binding();
      if (binding == Binding::none || binding < loosest) return left;
      if (binding == Binding::compare) {
        TRITIUM_ASSIGN(left, comparison(std::move(left)));
      } else if (binding == Binding::concat) {
        TRITIUM_ASSIGN(left, concat(std::move(left)));
      } else if (binding <= Binding::and_) {
        TRITIUM_ASSIGN(left, logic(binding, std::move(left)));
      } else {
        TRITIUM_ASSIGN(left, arithmetic(binding, std::move(left)));
      }
    }
  }
  static Binding tighter(Binding binding) { return static_cast<Binding>(static_cast<std::uint8_t>(binding) + 1); }

  TRITIUM_NOINLINE Result<ExprPtr> negation() {
    const Level level(nesting_);
    if (nesting_ > max_depth_) return too_deep();
    auto node = make<Unary>(current().line);
    node->op = Unary::Op::not_;
    next();
    TRITIUM_ASSIGN(node->operand, operation(Binding::not_));
    above(*node, node->operand);
    return done(std::move(node));
  }

  TRITIUM_NOINLINE Result<ExprPtr> logic(Binding binding, ExprPtr left) {
    auto node = make<Logic>(current().line);
    node->is_and = binding == Binding::and_;
    node->left = std::move(left);
    next();
    TRITIUM_ASSIGN(node->right, operation(tighter(binding)));
    above(*node, node->left);
    above(*node, node->right);
    return done(std::move(node));
  }

  TRITIUM_NOINLINE Result<ExprPtr> arithmetic(Binding binding, ExprPtr left) {
    static constexpr std::pair<std::string_view, Arithmetic> kOps[] = {
        {"+", Arithmetic::add},    {"-", Arithmetic::subtract},      {"*", Arithmetic::multiply},
        {"/", Arithmetic::divide}, {"//", Arithmetic::floor_divide}, {"%", Arithmetic::modulo},
        {"**", Arithmetic::power}};
    auto node = make<Binary>(current().line);
    for (const auto& [text, op] : kOps) {
      if (current().text == text) node->op = op;
    }
    node->left = std::move(left);
    next();
    TRITIUM_ASSIGN(node->right, operation(tighter(binding)));
    above(*node, node->left);
    above(*node, node->right);
    return done(std::move(node));
  }

  TRITIUM_NOINLINE Result<ExprPtr> concat(ExprPtr first) {
    auto node = make<Concat>(current().line);
    above(*node, first);
    node->parts.push_back(std::move(first));
    while (skip_op("~")) {
      TRITIUM_ASSIGN(ExprPtr part, operation(Binding::product));
      above(*node, part);
      node->parts.push_back(std::move(part));
    }
    return done(std::move(node));
  }

  bool comparison_operator(Comparison& op) {
    static constexpr std::pair<std::string_view, Comparison> kOps[] = {
        {"==", Comparison::equal},      {"!=", Comparison::not_equal}, {"<", Comparison::less},
        {"<=", Comparison::less_equal}, {">", Comparison::greater},    {">=", Comparison::greater_equal}};
    for (const auto& [text, value] : kOps) {
      if (skip_op(text)) {
        op = value;
        return true;
      }
    }
    if (skip_name("in")) {
      op = Comparison::in;
      return true;
    }
    if (is_name("not") && look().type == Type::name && look().text == "in") {
      next();
      next();
      op = Comparison::not_in;
      return true;
    }
    return false;
  }
  TRITIUM_NOINLINE Result<ExprPtr> comparison(ExprPtr first) {
    auto node = make<Compare>(current().line);
    node->first = std::move(first);
    above(*node, node->first);
    Comparison op = Comparison::equal;
    while (comparison_operator(op)) {
      TRITIUM_ASSIGN(ExprPtr operand, operation(Binding::sum));
      above(*node, operand);
      node->rest.emplace_back(op, std::move(operand));
    }
    return done(std::move(node));
  }

  Result<ExprPtr> unary(bool with_filters) {
    ExprPtr value;
    if (is_op("-") || is_op("+")) {
      TRITIUM_ASSIGN(value, sign());
    } else {
      TRITIUM_ASSIGN(value, primary(false));
    }
    TRITIUM_ASSIGN(value, postfix(std::move(value)));
    if (!with_filters) return value;
    while (true) {
      if (is_op("|")) {
        TRITIUM_ASSIGN(value, filters(std::move(value), false));
      } else if (is_name("is")) {
        TRITIUM_ASSIGN(value, test(std::move(value)));
      } else if (is_op("(")) {
        TRITIUM_ASSIGN(value, call(std::move(value)));
      } else {
        return value;
      }
    }
  }

  TRITIUM_NOINLINE Result<ExprPtr> sign() {
    const Level level(nesting_);
    if (nesting_ > max_depth_) return too_deep();
    auto node = make<Unary>(current().line);
    node->op = is_op("-") ? Unary::Op::negate : Unary::Op::plus;
    next();
    TRITIUM_ASSIGN(node->operand, unary(false));
    above(*node, node->operand);
    return done(std::move(node));
  }

  Result<ExprPtr> constant(Constant::Literal value, std::uint32_t line) {
    auto node = make<Constant>(line);
    node->value = std::move(value);
    node->index = constants_++;
    return done(std::move(node));
  }

  Result<ExprPtr> primary(bool with_namespace) {
    if (current().type != Type::op) return atom(with_namespace);
    if (is_op("(")) return parenthesis();
    if (is_op("[")) return list();
    if (is_op("{")) return dict();
    return unexpected("an expression");
  }

  TRITIUM_NOINLINE Result<ExprPtr> parenthesis() {
    next();
    TRITIUM_ASSIGN(ExprPtr value, tuple({}, true, false, false, true));
    TRITIUM_TRY(expect_op(")"));
    return value;
  }

  // A name or a literal.
  TRITIUM_NOINLINE Result<ExprPtr> atom(bool with_namespace) {
    const std::uint32_t line = current().line;
    switch (current().type) {
      case Type::name: {
        std::string text = current().text;
        next();
        if (text == "true" || text == "True") return constant(true, line);
        if (text == "false" || text == "False") return constant(false, line);
        if (text == "none" || text == "None") return constant(nullptr, line);
        if (with_namespace && skip_op(".")) {
          auto node = make<NamespaceAttribute>(line);
          node->text = std::move(text);
          TRITIUM_ASSIGN(node->attribute, expect_identifier());
          return done(std::move(node));
        }
        auto node = make<Name>(line);
        node->text = std::move(text);
        return done(std::move(node));
      }
      case Type::string: {
        std::string text;
        while (current().type == Type::string) {
          text += current().text;
          next();
        }
        return constant(std::move(text), line);
      }
      case Type::integer: {
        const std::int64_t value = current().integer;
        next();
        return constant(value, line);
      }
      case Type::real: {
        const double value = current().real;
        next();
        return constant(value, line);
      }
      default: return unexpected("an expression");
    }
  }

  TRITIUM_NOINLINE Result<ExprPtr> list() {
    auto node = make<Sequence>(Expr::Type::list, current().line);
    next();
    while (!is_op("]")) {
      if (!node->items.empty()) TRITIUM_TRY(expect_op(","));
      if (is_op("]")) break;
      TRITIUM_ASSIGN(ExprPtr item, expression());
      above(*node, item);
      node->items.push_back(std::move(item));
    }
    next();
    return done(std::move(node));
  }

  TRITIUM_NOINLINE Result<ExprPtr> dict() {
    auto node = make<DictLiteral>(current().line);
    next();
    while (!is_op("}")) {
      if (!node->items.empty()) TRITIUM_TRY(expect_op(","));
      if (is_op("}")) break;
      TRITIUM_ASSIGN(ExprPtr key, expression());
      TRITIUM_TRY(expect_op(":"));
      TRITIUM_ASSIGN(ExprPtr value, expression());
      above(*node, key);
      above(*node, value);
      node->items.emplace_back(std::move(key), std::move(value));
    }
    next();
    return done(std::move(node));
  }

  Result<ExprPtr> postfix(ExprPtr value) {
    while (true) {
      if (is_op(".")) {
        TRITIUM_ASSIGN(value, dotted(std::move(value)));
      } else if (is_op("[")) {
        TRITIUM_ASSIGN(value, subscript(std::move(value)));
      } else if (is_op("(")) {
        TRITIUM_ASSIGN(value, call(std::move(value)));
      } else {
        return value;
      }
    }
  }

  TRITIUM_NOINLINE Result<ExprPtr> dotted(ExprPtr object) {
    const std::uint32_t line = current().line;
    next();
    if (current().type == Type::name) {
      auto node = make<Attribute>(line);
      node->name = current().text;
      next();
      node->object = std::move(object);
      above(*node, node->object);
      return done(std::move(node));
    }
    if (current().type != Type::integer) return unexpected("a name or a number");
    auto node = make<Subscript>(line);
    const std::int64_t index = current().integer;
    next();
    node->object = std::move(object);
    TRITIUM_ASSIGN(node->index, constant(index, line));
    above(*node, node->object);
    return done(std::move(node));
  }

  TRITIUM_NOINLINE Result<ExprPtr> subscript(ExprPtr object) {
    auto node = make<Subscript>(current().line);
    next();
    std::vector<ExprPtr> items;
    while (!is_op("]")) {
      if (!items.empty()) TRITIUM_TRY(expect_op(","));
      TRITIUM_ASSIGN(ExprPtr item, subscript_item());
      items.push_back(std::move(item));
    }
    next();
    if (items.size() == 1) {
      node->index = std::move(items[0]);
    } else {
      auto several = make<Sequence>(Expr::Type::tuple, node->line);
      for (const ExprPtr& item : items) {
        if (item->type == Expr::Type::slice) return unexpected("no slice among several subscripts before it");
        above(*several, item);
      }
      several->items = std::move(items);
      node->index = std::move(several);
    }
    node->object = std::move(object);
    above(*node, node->object);
    above(*node, node->index);
    return done(std::move(node));
  }
  Result<ExprPtr> subscript_item() {
    const std::uint32_t line = current().line;
    ExprPtr start;
    if (!is_op(":")) {
      TRITIUM_ASSIGN(start, expression());
      if (!is_op(":")) return start;
    }
    next();
    auto node = make<Slice>(line);
    node->start = std::move(start);
    if (!is_op(":") && !is_op("]") && !is_op(",")) {
      TRITIUM_ASSIGN(node->stop, expression());
    }
    if (skip_op(":") && !is_op("]") && !is_op(",")) {
      TRITIUM_ASSIGN(node->step, expression());
    }
    above(*node, node->start);
    above(*node, node->stop);
    above(*node, node->step);
    return done(std::move(node));
  }

  TRITIUM_NOINLINE Status call_arguments(Arguments& out) {
    TRITIUM_TRY(expect_op("("));
    bool comma = false;
    while (!is_op(")")) {
      if (comma) {
        TRITIUM_TRY(expect_op(","));
        if (is_op(")")) break;
      }
      comma = true;
      if (is_op("*")) {
        if (out.star != nullptr || out.star_star != nullptr) return unexpected("one list of arguments");
        next();
        TRITIUM_ASSIGN(out.star, expression());
      } else if (is_op("**")) {
        if (out.star_star != nullptr) return unexpected("one mapping of arguments");
        next();
        TRITIUM_ASSIGN(out.star_star, expression());
      } else if (current().type == Type::name && look().type == Type::op && look().text == "=") {
        if (out.star_star != nullptr) return unexpected("no argument after a mapping of arguments");
        std::string name = current().text;
        for (const auto& [other, value] : out.named) {
          if (other == name) return unexpected("an argument that was not yet given");
        }
        next();
        next();
        TRITIUM_ASSIGN(ExprPtr value, expression());
        out.named.emplace_back(std::move(name), std::move(value));
      } else {
        if (out.star != nullptr || out.star_star != nullptr || !out.named.empty()) {
          return unexpected("no positional argument after the others");
        }
        TRITIUM_ASSIGN(ExprPtr value, expression());
        out.positional.push_back(std::move(value));
      }
    }
    next();
    return {};
  }

  TRITIUM_NOINLINE Result<ExprPtr> call(ExprPtr callee) {
    auto node = make<Call>(current().line);
    TRITIUM_TRY(call_arguments(node->arguments));
    node->callee = std::move(callee);
    above(*node, node->callee);
    above(*node, node->arguments);
    return done(std::move(node));
  }

  Result<std::string> dotted_name() {
    TRITIUM_ASSIGN(std::string name, expect_identifier());
    while (skip_op(".")) {
      TRITIUM_ASSIGN(const std::string part, expect_identifier());
      name += "." + part;
    }
    return name;
  }

  // `|a|b(1)`; with `inline_start` the first one stands without its bar.
  TRITIUM_NOINLINE Result<ExprPtr> filters(ExprPtr value, bool inline_start) {
    while (inline_start || is_op("|")) {
      if (!inline_start) next();
      inline_start = false;
      auto node = make<Apply>(Expr::Type::filter, current().line);
      TRITIUM_ASSIGN(node->name, dotted_name());
      if (is_op("(")) TRITIUM_TRY(call_arguments(node->arguments));
      node->operand = std::move(value);
      above(*node, node->operand);
      above(*node, node->arguments);
      TRITIUM_ASSIGN(value, done(std::move(node)));
    }
    return value;
  }

  TRITIUM_NOINLINE Result<ExprPtr> test(ExprPtr value) {
    auto node = make<Apply>(Expr::Type::test, current().line);
    next();
    const bool negated = skip_name("not");
    TRITIUM_ASSIGN(node->name, dotted_name());
    const Token& t = current();
    if (is_op("(")) {
      TRITIUM_TRY(call_arguments(node->arguments));
    } else if ((t.type == Type::name && t.text != "else" && t.text != "or" && t.text != "and") ||
               t.type == Type::string || t.type == Type::integer || t.type == Type::real || is_op("[") || is_op("{")) {
      if (is_name("is")) return unexpected("no second test");
      TRITIUM_ASSIGN(ExprPtr argument, primary(false));
      TRITIUM_ASSIGN(argument, postfix(std::move(argument)));
      node->arguments.positional.push_back(std::move(argument));
    }
    node->operand = std::move(value);
    above(*node, node->operand);
    above(*node, node->arguments);
    TRITIUM_ASSIGN(ExprPtr result, done(std::move(node)));
    if (!negated) return result;
    auto inverse = make<Unary>(result->line);
    inverse->op = Unary::Op::not_;
    inverse->operand = std::move(result);
    above(*inverse, inverse->operand);
    return done(std::move(inverse));
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::uint32_t max_depth_;
  std::uint32_t nesting_ = 0;
  std::uint32_t operations_ = 0;
  std::uint32_t constants_ = 0;
  std::uint32_t for_nesting_ = 0;
  bool in_loop_ = false;
  bool stores_loop_ = false;
};

}  // namespace jinja

TRITIUM_NAMESPACE_END
