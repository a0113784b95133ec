// SPDX-License-Identifier: Apache-2.0
#include "helper/acl_parser.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace tapir::helper {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr unsigned kMaxVlan = 4094;

bool is_control(char c) {
  return (c >= '\0' && c < ' ') || c == '\x7F';
}

// Takes a line apart from left to right.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) { skip_blanks(); }

  // The next word; empty at the end.
  std::string_view next() {
    const std::string_view word = rest_.substr(0, rest_.find_first_of(kBlanks));
    rest_.remove_prefix(word.size());
    skip_blanks();
    return word;
  }

  // What is left, without blanks around it.
  std::string_view rest() const { return rest_.substr(0, rest_.find_last_not_of(kBlanks) + 1); }
  bool at_end() const { return rest_.empty(); }

 private:
  void skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(kBlanks), rest_.size())); }

  std::string_view rest_;
};

Result<std::optional<std::string>> parse_bridge(std::string_view word) {
  if (word.empty()) {
    return fail("the bridge is missing");
  }
  if (word == "all") {
    return std::nullopt;
  }
  if (!is_interface_name(word)) {
    return fail("a bridge's name has 1 to 15 characters of A-Z a-z 0-9 _ . - and is not . or ..");
  }
  return std::string(word);
}

// "user NAME" or "group NAME", of which `word` is the first. `expected` is the error when it is neither.
Result<Subject> parse_account(std::string_view word, Words& words, AccountNames& names,
                              const char* expected) {
  if (word != "user" && word != "group") {
    return fail(expected);
  }
  const std::string_view name = words.next();
  if (name.empty()) {
    return fail("the name of the user or group is missing");
  }
  const bool is_user = word == "user";
  const auto kind = is_user ? Subject::Kind::kUser : Subject::Kind::kGroup;
  if (const auto id = parse_id(name)) {
    return Subject{kind, *id};
  }
  TAPIR_TRY_ASSIGN(const std::uint32_t id, is_user ? names.find_user(name) : names.find_group(name));
  return Subject{kind, id};
}

// Of allow and deny: nothing, or an account.
Result<Subject> parse_optional_subject(Words& words, AccountNames& names) {
  if (words.at_end()) {
    return Subject{};
  }
  return parse_account(
      words.next(), words, names,
      "after the bridge only \"user NAME\" or \"group NAME\" may stand; a comment needs a line of its own");
}

// Of limit: "all", or an account.
Result<Subject> parse_limit_subject(Words& words, AccountNames& names) {
  const std::string_view word = words.next();
  if (word == "all") {
    return Subject{};
  }
  return parse_account(
      word, words, names,
      "after the bridge stands \"user NAME\", \"group NAME\" or \"all\", and then the number");
}

// Decimal only, as every number in the file.
Result<unsigned> parse_number(std::string_view word, unsigned min, unsigned max, std::string_view what) {
  const auto number = parse_id(word);
  if (!number || *number < min || *number > max) {
    return fail(std::string(what) + " is a number from " + std::to_string(min) + " to " +
                std::to_string(max));
  }
  return *number;
}

struct RuleWord {
  std::string_view word;
  Rule::Kind kind;
};
constexpr std::array<RuleWord, 6> kRuleWords{{{"allow", Rule::Kind::kAllow},
                                              {"deny", Rule::Kind::kDeny},
                                              {"limit", Rule::Kind::kLimit},
                                              {"isolate", Rule::Kind::kIsolate},
                                              {"lock", Rule::Kind::kLock},
                                              {"vlan", Rule::Kind::kVlan}}};

// The rest of a line that begins with the word for `kind`.
Result<Rule> parse_rule(Rule::Kind kind, Words& words, AccountNames& names) {
  Rule rule;
  rule.kind = kind;
  TAPIR_TRY_ASSIGN(rule.bridge, parse_bridge(words.next()));
  switch (kind) {
    case Rule::Kind::kAllow:
    case Rule::Kind::kDeny: {
      TAPIR_TRY_ASSIGN(rule.subject, parse_optional_subject(words, names));
      break;
    }
    case Rule::Kind::kLimit: {
      TAPIR_TRY_ASSIGN(rule.subject, parse_limit_subject(words, names));
      TAPIR_TRY_ASSIGN(rule.number, parse_number(words.next(), 0, kMaxLimit, "a limit"));
      break;
    }
    case Rule::Kind::kVlan: {
      if (!rule.bridge) {
        return fail("a VLAN is of one bridge, which must be named");
      }
      TAPIR_TRY_ASSIGN(rule.number, parse_number(words.next(), 1, kMaxVlan, "a VLAN"));
      break;
    }
    case Rule::Kind::kIsolate:
    case Rule::Kind::kLock:
      break;
  }
  if (!words.at_end()) {
    return fail("text after the end of the rule; a comment needs a line of its own");
  }
  return rule;
}

// A path may hold blanks, as in QEMU. Where it may be missing it may not: a comment after it would look like
// a part of the path, and the file would be passed over.
Result<Include> parse_include(bool optional, Words& words) {
  const std::string_view path = words.rest();
  if (!path.starts_with('/')) {
    return fail("the path of the file to include must be absolute");
  }
  // It stands in messages, so it must not move a terminal's cursor; and a second '\r' is no blank either.
  if (std::any_of(path.begin(), path.end(), is_control)) {
    return fail("the path has a control character");
  }
  if (optional && path.find_first_of(kBlanks) != std::string_view::npos) {
    return fail("text after the path; a comment needs a line of its own");
  }
  return Include{std::string(path), optional, 0};
}

// `text` is without the end of the line.
Status parse_line(std::string_view text, unsigned number, AccountNames& names, ParsedAcl& parsed) {
  if (text.size() > kMaxLineBytes) {
    return fail("the line is longer than " + std::to_string(kMaxLineBytes) + " bytes");
  }
  if (text.find('\0') != std::string_view::npos) {
    return fail("the line has a NUL byte");
  }
  if (text.ends_with('\r')) {
    text.remove_suffix(1);
  }
  Words words(text);
  if (words.at_end() || words.rest().starts_with('#')) {
    return {};
  }
  const std::string_view word = words.next();
  if (word == "include" || word == "include?") {
    TAPIR_TRY_ASSIGN(Include include, parse_include(word == "include?", words));
    include.line = number;
    parsed.includes.push_back(std::move(include));
    return {};
  }
  const auto known = std::find_if(kRuleWords.begin(), kRuleWords.end(),
                                  [word](const RuleWord& candidate) { return candidate.word == word; });
  if (known == kRuleWords.end()) {
    return fail("the first word is not allow, deny, limit, isolate, lock, vlan, include or include?");
  }
  TAPIR_TRY_ASSIGN(Rule rule, parse_rule(known->kind, words, names));
  rule.line = number;
  parsed.rules.push_back(std::move(rule));
  return {};
}

}  // namespace

Result<ParsedAcl> parse_acl(std::string_view text, std::string_view file, AccountNames& names) {
  ParsedAcl parsed;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto status = parse_line(text.substr(0, end), number, names, parsed); !status) {
      return tl::unexpected<Error>(
          std::move(status).error().with_context(std::string(file) + ':' + std::to_string(number)));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parsed;
}

}  // namespace tapir::helper
