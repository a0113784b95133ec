// SPDX-License-Identifier: Apache-2.0
#include "vmm/key_value_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "net/base/parse.h"

namespace tapir::vmm {
namespace {

/// Takes a value off the front of `text`, with the comma that ends it; ",," becomes one comma of the value.
std::string take_value(std::string_view& text) {
  std::string value;
  while (!text.empty()) {
    if (text.front() == ',') {
      text.remove_prefix(1);
      if (text.empty() || text.front() != ',') {
        return value;
      }
    }
    value.push_back(text.front());
    text.remove_prefix(1);
  }
  return value;
}

const KeySpec* find_key(std::span<const KeySpec> keys, std::string_view name) {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const KeySpec& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

tl::unexpected<Error> unknown_key(std::span<const KeySpec> keys, std::string_view name) {
  std::vector<std::string_view> names;
  std::string known;
  for (const KeySpec& key : keys) {
    names.push_back(key.name);
    known.append(known.empty() ? "" : ", ").append(key.name);
  }
  if (const auto near = nearest(name, names)) {
    return fail(fmt::format("unknown key '{}'; did you mean '{}'?", name, *near));
  }
  return fail(fmt::format("unknown key '{}'; tapir knows {}", name, known));
}

}  // namespace

Result<KeyValueList> KeyValueList::parse(std::string_view text, std::span<const KeySpec> keys,
                                         std::string_view implied) {
  KeyValueList list;
  for (bool first = true; !text.empty(); first = false) {
    const std::size_t end = text.find_first_of("=,");
    const std::string_view name = text.substr(0, end);
    if (end != std::string_view::npos && text[end] == '=') {
      text.remove_prefix(end + 1);
      if (find_key(keys, name) == nullptr) {
        return unknown_key(keys, name);
      }
      list.entries_.push_back({std::string(name), take_value(text)});
      continue;
    }
    if (first && !implied.empty()) {
      list.entries_.push_back({std::string(implied), take_value(text)});
      continue;
    }
    if (name.empty()) {
      return fail("there is nothing between two commas");
    }
    const KeySpec* key = find_key(keys, name);
    const bool negated = key == nullptr && name.substr(0, 2) == "no";
    if (negated) {
      key = find_key(keys, name.substr(2));
    }
    if (key == nullptr) {
      return unknown_key(keys, name);
    }
    if (key->kind != KeySpec::Kind::kFlag) {
      return fail(fmt::format("'{0}' needs a value: {0}=VALUE", key->name));
    }
    list.entries_.push_back({std::string(key->name), negated ? "off" : "on"});
    text.remove_prefix(std::min(text.size(), name.size() + 1));
  }
  return list;
}

std::optional<std::string_view> KeyValueList::find(std::string_view key) const {
  const auto found =
      std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& entry) { return entry.key == key; });
  if (found == entries_.rend()) {
    return std::nullopt;
  }
  return found->value;
}

Result<std::optional<bool>> KeyValueList::find_flag(std::string_view key) const {
  const auto value = find(key);
  if (!value) {
    return std::optional<bool>();
  }
  const auto flag = parse_bool(*value);
  if (!flag) {
    return fail(fmt::format("{}={}: the value must be on or off", key, *value));
  }
  return std::optional<bool>(flag);
}

std::string_view leading_value(std::string_view argument, std::string_view key) {
  const std::string_view first = argument.substr(0, argument.find(','));
  const std::size_t equals = first.find('=');
  if (equals == std::string_view::npos) {
    return first;
  }
  return first.substr(0, equals) == key ? first.substr(equals + 1) : std::string_view();
}

Status check_identifier(std::string_view id) {
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  };
  if (id.empty() || !letter(id.front()) || !std::all_of(id.begin(), id.end(), inner)) {
    return fail(fmt::format(
        "id={}: an id begins with a letter and goes on with letters, digits, '-', '.' and '_'", id));
  }
  return {};
}

}  // namespace tapir::vmm
