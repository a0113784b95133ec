// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "net/base/parse.h"
#include "vmm/key_value_list.h"
#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

bool is_feature_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Status apply_feature(CpuConfig& cpu, std::string_view item) {
  std::string_view name = item;
  bool enable = true;
  if (!item.empty() && (item.front() == '+' || item.front() == '-')) {
    enable = item.front() == '+';
    name.remove_prefix(1);
  } else {
    const std::size_t equals = item.find('=');
    name = item.substr(0, equals);
    const auto value = equals == std::string_view::npos ? std::nullopt : parse_bool(item.substr(equals + 1));
    if (!value) {
      return fail(
          fmt::format("'{}' is not a feature; write +NAME or -NAME, for example host,-avx512f", item));
    }
    enable = *value;
  }
  if (!is_feature_name(name)) {
    return fail(fmt::format(
        "'{}' is not a feature name; the names are those of flags in /proc/cpuinfo, for example -avx512f",
        name));
  }
  if (contains(enable ? cpu.disable : cpu.enable, name)) {
    return fail(fmt::format("feature '{}' is switched on and off; give it once", name));
  }
  std::vector<std::string>& names = enable ? cpu.enable : cpu.disable;
  if (!contains(names, name)) {
    names.emplace_back(name);
  }
  return {};
}

}  // namespace

Status apply_initrds(MachineConfig& machine, std::string_view argument) {
  machine.initrds = split_values(argument);
  for (const std::string& text : machine.initrds) {
    if (text.empty()) {
      return fail("a file has no name; for example -initrd initrd.img,modules.img");
    }
  }
  return {};
}

Status apply_memory(MachineConfig& machine, std::string_view argument) {
  static constexpr std::array<KeySpec, 1> kKeys = {{{.name = "size"}}};
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kKeys, "size"));
  const std::string_view text = list.find("size").value_or("");
  const auto bytes = parse_size(text, 'M');
  if (!bytes) {
    return fail(fmt::format(
        "'{}' is not a memory size; give mebibytes, or a number with M or G: for example -m 256", text));
  }
  if (*bytes < kMinMemoryBytes) {
    return fail("memory size must be at least 2M; for example -m 256");
  }
  if (*bytes > kMaxMemoryBytes) {
    return fail("memory size must be at most 64T; for example -m 4G");
  }
  machine.memory_bytes = (*bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  return {};
}

Status apply_cpus(MachineConfig& machine, std::string_view argument) {
  static constexpr std::array<KeySpec, 1> kKeys = {{{.name = "cpus"}}};
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kKeys, "cpus"));
  const auto cpus = parse_unsigned(list.find("cpus").value_or(""), platform::kMaxCpus);
  if (!cpus || *cpus == 0) {
    return fail(fmt::format("the number of CPUs must be 1 to {}; for example -smp 2", platform::kMaxCpus));
  }
  machine.cpus = static_cast<unsigned>(*cpus);
  return {};
}

Status apply_cpu_model(MachineConfig& machine, std::string_view argument) {
  const std::size_t end = argument.find(',');
  const std::string_view model = argument.substr(0, end);
  if (model != "host") {
    return fail(
        fmt::format("tapir has no CPU model '{}'; use -cpu host, with features as in host,-avx512f", model));
  }
  CpuConfig cpu;
  std::string_view rest = end == std::string_view::npos ? std::string_view() : argument.substr(end + 1);
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    TAPIR_TRY(apply_feature(cpu, rest.substr(0, comma)));
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  machine.cpu = std::move(cpu);
  return {};
}

Status apply_name(MachineConfig& machine, std::string_view argument) {
  static constexpr std::array<KeySpec, 1> kKeys = {{{.name = "guest"}}};
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kKeys, "guest"));
  const std::string_view name = list.find("guest").value_or("");
  if (name.empty()) {
    return fail("the name is empty; for example -name web1");
  }
  machine.name = name;
  return {};
}

Status apply_serial(MachineConfig& machine, std::string_view argument) {
  static constexpr std::string_view kFile = "file:";
  using Kind = SerialConfig::Kind;
  if (argument == "stdio" || argument == "mon:stdio") {
    machine.serial = {Kind::kStdio, {}};
  } else if (argument == "none") {
    machine.serial = {Kind::kNone, {}};
  } else if (argument == "null") {
    machine.serial = {Kind::kNull, {}};
  } else if (argument.substr(0, kFile.size()) == kFile) {
    const std::string_view path = argument.substr(kFile.size());
    if (path.empty()) {
      return fail("the path is missing; for example -serial file:console.log");
    }
    machine.serial = {Kind::kFile, std::string(path)};
  } else {
    return fail(
        fmt::format("'{}' is no place for the serial port; use stdio, none, null or file:PATH", argument));
  }
  return {};
}

Status apply_log(MachineConfig& machine, std::string_view argument) {
  for (const std::string_view item : split_words(argument, ',')) {
    if (item != "net") {
      return fail(fmt::format("tapir has no log of '{}'; it has net, and -d help lists them", item));
    }
  }
  machine.log_network = true;
  return {};
}

Status check_machine_type(std::string_view argument) {
  static constexpr std::array<KeySpec, 2> kKeys = {{{.name = "type"}, {.name = "accel"}}};
  TAPIR_TRY_ASSIGN(const KeyValueList list, KeyValueList::parse(argument, kKeys, "type"));
  const std::string_view type = list.find("type").value_or("q35");
  if (type != "q35" && type != "pc" && type != "microvm") {
    return fail(
        fmt::format("tapir has no machine '{}'; it has one, which q35, pc and microvm all stand for", type));
  }
  const std::string_view accelerator = list.find("accel").value_or("kvm");
  if (accelerator != "kvm") {
    return fail(fmt::format("accel={}: tapir runs on KVM only; use accel=kvm or leave it out", accelerator));
  }
  return {};
}

}  // namespace tapir::vmm
