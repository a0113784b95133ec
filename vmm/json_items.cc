// SPDX-License-Identifier: Apache-2.0
#include "vmm/json_items.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tapir::vmm {
namespace {

using Json = nlohmann::ordered_json;
using Form = KeyItem::Form;

KeyItem item_of(const std::string& key, const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return {key, value.get<std::string>(), Form::kString};
    case Json::value_t::boolean:
      return {key, value.get<bool>() ? "on" : "off", Form::kBoolean};
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return {key, value.dump(), Form::kInteger};
    default:
      return {key, {}, Form::kOther};
  }
}

/// Parsed, with the key that is twice in one object, if any.
Json parse(std::string_view text, std::string& twice) {
  std::vector<std::string> keys;  // of the outermost object
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) {
      auto key = parsed.get<std::string>();
      if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
        twice = key;
      }
      keys.push_back(std::move(key));
    }
    return true;
  };
  return Json::parse(text.begin(), text.end(), watch);
}

}  // namespace

bool is_json_argument(std::string_view argument) {
  return argument.starts_with('{');
}

Result<std::vector<KeyItem>> json_items(std::string_view text) try {
  std::string twice;
  const Json object = parse(text, twice);
  if (!object.is_object()) {
    return fail("this is JSON, but no object; for example '{\"type\":\"bridge\",\"id\":\"n0\"}'");
  }
  if (!twice.empty()) {
    return fail(fmt::format("the key '{}' is there twice", twice));
  }
  std::vector<KeyItem> items;
  for (const auto& [key, value] : object.items()) {
    items.push_back(item_of(key, value));
    if ((items.back().key + items.back().value).find('\0') != std::string::npos) {
      return fail("a string has a NUL character in it, which no name or path can have");
    }
  }
  return items;
} catch (const Json::parse_error& error) {
  return fail(
      fmt::format("this begins like JSON and is none, from byte {} on; keys and strings stand in double "
                  "quotes, for example '{{\"type\":\"bridge\",\"id\":\"n0\"}}'",
                  error.byte));
} catch (const Json::exception& error) {
  return fail(fmt::format("this JSON cannot be read ({})", error.what()));
}

std::optional<std::vector<KeyItem>> read_items(std::string_view argument, std::string_view implied,
                                               Problems& problems) {
  if (!is_json_argument(argument)) {
    return split_items(argument, implied);
  }
  auto items = json_items(argument);
  if (!items) {
    problems.add(items.error().message());
    return std::nullopt;
  }
  return *std::move(items);
}

}  // namespace tapir::vmm
