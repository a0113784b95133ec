// SPDX-License-Identifier: Apache-2.0
#include "vmm/key_value_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/base/parse.h"

namespace tapir::vmm {
namespace {

using Form = KeyItem::Form;

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

std::string unknown_key(std::span<const KeySpec> keys, std::string_view name) {
  std::vector<std::string_view> names;
  for (const KeySpec& key : keys) {
    if (!key.hidden()) {
      names.push_back(key.name);
    }
  }
  if (const auto near = nearest(name, names)) {
    return fmt::format("unknown key '{}'; did you mean '{}'?", name, *near);
  }
  // A long list would hide what it is about; of such there is a help.
  static constexpr std::size_t kFew = 16;
  if (names.size() > kFew) {
    return fmt::format("unknown key '{}'; help in its place lists those that tapir knows", name);
  }
  return fmt::format("unknown key '{}'; tapir knows {}", name, fmt::join(names, ", "));
}

/// The problem of a JSON value that has not its key's type, or nothing.
std::string wrong_json_type(const KeySpec& key, Form form) {
  const bool number = key.type == KeySpec::Type::kNumber || key.type == KeySpec::Type::kQueueSize ||
                      key.type == KeySpec::Type::kSize;
  const Form wanted = key.is_flag() ? Form::kBoolean : number ? Form::kInteger : Form::kString;
  const bool address = key.type == KeySpec::Type::kPciAddress && form == Form::kInteger;
  if (form == wanted || address) {
    return {};
  }
  return fmt::format("'{}' wants {}", key.name,
                     wanted == Form::kBoolean   ? "a JSON boolean, true or false"
                     : wanted == Form::kInteger ? "a JSON number without fraction"
                                                : "a JSON string");
}

/// In JSON, QEMU's devfn: eight functions for each slot.
std::string pci_address_text(std::string_view number) {
  const std::int64_t devfn = number_value(number);
  return fmt::format("{}{:x}.{:x}", devfn < 0 ? "-" : "", (devfn < 0 ? -devfn : devfn) / 8,
                     (devfn < 0 ? -devfn : devfn) % 8);
}

bool is_json(Form form) {
  return form != Form::kValue && form != Form::kBare;
}

}  // namespace

std::vector<KeyItem> split_items(std::string_view text, std::string_view implied) {
  std::vector<KeyItem> items;
  for (bool first = true; !text.empty(); first = false) {
    const std::size_t end = text.find_first_of("=,");
    const std::string_view name = text.substr(0, end);
    if (end != std::string_view::npos && text[end] == '=') {
      text.remove_prefix(end + 1);
      items.push_back({std::string(name), take_value(text), Form::kValue});
    } else if (first && !implied.empty()) {
      items.push_back({std::string(implied), take_value(text), Form::kValue});
    } else {
      text.remove_prefix(std::min(text.size(), name.size() + 1));
      items.push_back({std::string(name), {}, Form::kBare});
    }
  }
  return items;
}

std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values;
  while (!text.empty()) {
    values.push_back(take_value(text));
  }
  return values;
}

std::string_view last_value(std::span<const KeyItem> items, std::string_view key) {
  const auto found = std::find_if(items.rbegin(), items.rend(), [&](const KeyItem& item) {
    return item.key == key && item.form != Form::kBare;
  });
  return found == items.rend() ? std::string_view() : found->value;
}

bool asks_for_help(std::span<const KeyItem> items) {
  return std::any_of(items.begin(), items.end(), [](const KeyItem& item) {
    return item.form == Form::kBare && (item.key == "help" || item.key == "?");
  });
}

void KeyValueList::take(const KeyItem& item, std::span<const KeySpec> keys, Problems& problems) {
  const KeySpec* key = find_key(keys, item.key);
  std::string value = item.value;
  if (item.form == Form::kBare) {
    if (item.key.empty()) {
      problems.add("there is nothing between two commas");
      return;
    }
    value = "on";
    if (key == nullptr && item.key.starts_with("no")) {
      key = find_key(keys, std::string_view(item.key).substr(2));
      value = "off";
    }
    if (key != nullptr && !key->is_flag()) {
      problems.add(
          fmt::format("'{0}' needs a value: {0}={1}", key->name, key->value.empty() ? "VALUE" : key->value));
      entries_.push_back({std::string(key->name), {}, false});
      return;
    }
  }
  if (key == nullptr) {
    problems.add(unknown_key(keys, item.key));
    return;
  }
  Entry entry{std::string(key->name), std::move(value), false};
  if (is_json(item.form)) {
    if (const std::string wrong = wrong_json_type(*key, item.form); !wrong.empty()) {
      problems.add(wrong);
      entries_.push_back(std::move(entry));
      return;
    }
    if (key->type == KeySpec::Type::kPciAddress && item.form == Form::kInteger) {
      entry.value = pci_address_text(entry.value);
    }
  }
  if (key->type == KeySpec::Type::kIdentifier && key->name == "id" && has(key->name)) {
    problems.add(fmt::format("id={}: an id is given before; give one", entry.value));
  }
  entry.right = problems.add_error_of(check_value(*key, entry.value));
  entries_.push_back(std::move(entry));
}

KeyValueList KeyValueList::check(std::span<const KeyItem> items, std::span<const KeySpec> keys,
                                 Problems& problems) {
  KeyValueList list;
  for (const KeyItem& item : items) {
    list.take(item, keys, problems);
  }
  return list;
}

Result<KeyValueList> KeyValueList::parse(std::string_view text, std::span<const KeySpec> keys,
                                         std::string_view implied) {
  Problems problems;
  const std::vector<KeyItem> items = split_items(text, implied);
  KeyValueList list = check(items, keys, problems);
  if (!problems.empty()) {
    return fail(problems.sentences().front());
  }
  return list;
}

std::optional<std::string_view> KeyValueList::find(std::string_view key) const {
  const auto found =
      std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& entry) { return entry.key == key; });
  if (found == entries_.rend() || !found->right) {
    return std::nullopt;
  }
  return found->value;
}

std::optional<bool> KeyValueList::flag(std::string_view key) const {
  const auto value = find(key);
  return value ? parse_bool(*value) : std::nullopt;
}

bool KeyValueList::has(std::string_view key) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
}

}  // namespace tapir::vmm
