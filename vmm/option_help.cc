// SPDX-License-Identifier: Apache-2.0
#include "vmm/option_help.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/base/version.h"
#include "vmm/exit_device_options.h"
#include "vmm/json_items.h"
#include "vmm/network_keys.h"
#include "vmm/nic_options.h"
#include "vmm/option_table.h"

namespace tapir::vmm {
namespace {

using Kind = KeyGroup::Kind;

constexpr std::size_t kHelpColumn = 24;
constexpr std::size_t kLineEnd = 80;

/// `head`, and beginning in the help column `text`, broken between words.
void append_entry(std::string& out, std::string head, std::string_view text) {
  if (head.size() + 2 > kHelpColumn) {
    out.append(head).append("\n");
    head.clear();
  }
  std::string line = fmt::format("{:<{}}", head, kHelpColumn);
  std::size_t column = kHelpColumn;
  for (const std::string_view word : split_words(text, ' ')) {
    if (column > kHelpColumn && column + 1 + word.size() > kLineEnd) {
      out.append(line).append("\n");
      line.assign(kHelpColumn, ' ');
      column = kHelpColumn;
    } else if (column > kHelpColumn) {
      line.push_back(' ');
      ++column;
    }
    line.append(word);
    column += word.size();
  }
  out.append(line).append("\n");
}

std::string key_text(const KeySpec& key) {
  std::string text(key.help);
  if (!key.standard.empty()) {
    text.append(fmt::format(" ({})", key.standard));
  }
  return text;
}

void append_keys(std::string& out, std::span<const KeySpec> keys) {
  for (const KeySpec& key : keys) {
    if (!key.hidden()) {
      append_entry(out, fmt::format("  {}={}", key.name, key.value), key_text(key));
    }
  }
  std::string off;
  for (const KeySpec& key : keys) {
    if (key.type == KeySpec::Type::kOffOnly) {
      off.append(off.empty() ? "" : " ").append(key.name);
    }
  }
  if (!off.empty()) {
    append_entry(out, "  and only off:", off);
  }
}

std::string keys_text(const KeyGroup& group) {
  std::string text = fmt::format("{}: {}\n", group.name, group.help);
  append_keys(text, group.keys);
  return text;
}

std::string backends_text() {
  std::string text = "Backends and their keys (in brackets what is used without the key):\n";
  for (const KeyGroup& group : network_key_groups()) {
    if (group.kind == Kind::kBackend) {
      text.append("\n").append(keys_text(group));
    }
  }
  return text;
}

bool is_help(std::string_view word) {
  return word == "help" || word == "?";
}

std::optional<std::string> backend_list(std::string_view option, std::span<const KeyItem> items) {
  const std::string_view type = last_value(items, "type");
  if (is_help(last_value(items, "model"))) {
    return "NIC models:\n" + model_list();
  }
  if (is_help(type)) {
    return backends_text();
  }
  if (!asks_for_help(items)) {
    return std::nullopt;
  }
  if (option == "net" && type == "nic") {
    return keys_text(
        {Kind::kNetNic, "nic", "a NIC on the hub of -net, or with a netdev of its own", net_nic_keys()});
  }
  const KeyGroup* const group = find_backend_keys(type);
  std::string text = group == nullptr ? backends_text() : keys_text(*group);
  if (option == "nic") {
    text.append("and of the NIC:\n");
    append_keys(text, nic_keys());
  }
  return text;
}

std::optional<std::string> device_keys_text(std::span<const KeyItem> items) {
  const std::string_view driver = last_value(items, "driver");
  if (is_help(driver)) {
    std::string text = "Devices:\n" + device_list();
    for (const KeyGroup& group : network_key_groups()) {
      if (group.kind == Kind::kDevice && is_exit_device(group.name)) {
        text.append(fmt::format("{:<34}{}\n", group.name, group.help));
      }
    }
    return text;
  }
  if (!asks_for_help(items)) {
    return std::nullopt;
  }
  if (is_exit_device(driver)) {
    return keys_text(
        {Kind::kDevice, driver, "in brackets what is used without the key", exit_device_keys(driver)});
  }
  if (!is_device(driver)) {
    return std::nullopt;
  }
  return keys_text({Kind::kDevice, driver, "a NIC; in brackets what is used without the key",
                    device_keys(is_pci_device(driver))});
}

}  // namespace

std::string help_text() {
  std::string text =
      "tapir boots a Linux guest on KVM and connects it to the host's network.\n"
      "Its options are QEMU's; one dash or two make no difference.\n"
      "\n"
      "  tapir -kernel FILE [options]\n";
  const OptionSpec* previous = nullptr;
  for (const OptionSpec& option : option_table()) {
    if (previous == nullptr || previous->group != option.group) {
      text.append(fmt::format("\n{}:\n", group_title(option.group)));
    }
    append_entry(text,
                 fmt::format("  -{}{}{}", option.name, option.argument.empty() ? "" : " ", option.argument),
                 option.help);
    previous = &option;
  }
  text.append(
      "\n"
      "A guest on the host's bridge br0, on this terminal (Ctrl-A x ends it):\n"
      "  tapir -kernel vmlinuz -initrd initrd.img -append console=ttyS0 -m 256 \\\n"
      "    -net bridge -net nic,model=virtio\n"
      "The bridge helper makes its tap, where root allows that: man tapir.\n"
      "\n"
      "The same on a tap of your own. As root, once:\n"
      "  ip tuntap add tap0 mode tap user YOU && ip link set tap0 up\n"
      "and then as YOU:\n"
      "  tapir -kernel vmlinuz -initrd initrd.img -append console=ttyS0 -m 256 \\\n"
      "    -netdev tap,id=n0,ifname=tap0,script=no,downscript=no \\\n"
      "    -device virtio-net-pci,netdev=n0\n"
      "\n"
      "A guest without network:\n"
      "  tapir -kernel vmlinuz -initrd initrd.img -append console=ttyS0 -m 256\n"
      "\n"
      "Exit status: 0 powered off, 1 could not run, 4 panic, 6 triple fault,\n"
      "8 KVM error, 10 -fail matched or -expect did not, 124 time limit,\n"
      "128+N ended by signal N. The whole story: man tapir\n");
  return text;
}

std::string version_text() {
  return fmt::format("tapir {}\n", kVersion);
}

std::optional<std::string> list_text(std::string_view option, std::string_view argument) {
  if (is_json_argument(argument)) {
    return std::nullopt;
  }
  if (option == "netdev" || option == "net" || option == "nic") {
    return backend_list(option, split_items(argument, "type"));
  }
  if (option == "device") {
    return device_keys_text(split_items(argument, "driver"));
  }
  if (option == "d" && is_help(argument)) {
    return "Logs:\nnet                     a line for each NIC at the start\n";
  }
  return std::nullopt;
}

}  // namespace tapir::vmm
