// SPDX-License-Identifier: Apache-2.0
#include "vmm/option_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "net/base/version.h"
#include "vmm/machine_options.h"

namespace tapir::vmm {
namespace {

using Group = OptionSpec::Group;

Status apply_kernel(OptionState& state, std::string_view argument) {
  state.machine.kernel_path = argument;
  return {};
}

Status apply_initrd(OptionState& state, std::string_view argument) {
  state.machine.initrd_path = argument;
  return {};
}

Status apply_append(OptionState& state, std::string_view argument) {
  state.machine.command_line = argument;
  return {};
}

Status apply_one_serial(OptionState& state, std::string_view argument) {
  if (state.serial_given) {
    return fail("tapir has one serial port; give -serial once");
  }
  state.serial_given = true;
  return apply_serial(state.machine, argument);
}

Status apply_no_reboot(OptionState& state, std::string_view) {
  state.machine.reboot = false;
  return {};
}

Status accept(OptionState&, std::string_view) {
  return {};
}

Status accept_none_only(OptionState&, std::string_view argument) {
  if (argument != "none") {
    return fail("tapir has no such thing; only none is accepted");
  }
  return {};
}

Status accept_kvm_only(OptionState&, std::string_view argument) {
  if (argument != "kvm") {
    return fail("tapir runs on KVM only; use -accel kvm or leave it out");
  }
  return {};
}

/// Lets a function that takes part of the state stand in the table.
template <auto kMember, auto kFunction>
Status apply_to(OptionState& state, std::string_view argument) {
  return kFunction(state.*kMember, argument);
}

template <auto kMethod>
Status apply_network(OptionState& state, std::string_view argument) {
  return (state.network.*kMethod)(argument);
}

constexpr auto kMachine = &OptionState::machine;

constexpr OptionSpec kTable[] = {
    {"kernel", "FILE", "the guest's kernel: a bzImage (vmlinuz) or an\nuncompressed ELF vmlinux; needed",
     "/boot/vmlinuz", Group::kBoot, apply_kernel},
    {"initrd", "FILE", "initial RAM disk", "/boot/initrd.img", Group::kBoot, apply_initrd},
    {"append", "TEXT", "the kernel's command line", "console=ttyS0", Group::kBoot, apply_append},
    {"no-reboot", "", "end when the guest resets, instead of starting again", "", Group::kBoot,
     apply_no_reboot},

    {"m", "[size=]N[M|G]", "memory in mebibytes, or with a suffix; 128 if not given", "256", Group::kMachine,
     apply_to<kMachine, apply_memory>},
    {"smp", "[cpus=]N", "number of CPUs, 1 to 64; 1 if not given", "2", Group::kMachine,
     apply_to<kMachine, apply_cpus>},
    {"cpu", "host[,+NAME|,-NAME]", "the host's CPU, with features (as in /proc/cpuinfo)\nadded or left out",
     "host,-avx512f", Group::kMachine, apply_to<kMachine, apply_cpu_model>},
    {"name", "[guest=]NAME",
     "name of the guest; with one, its default MAC addresses\nstay the same from run to run", "web1",
     Group::kMachine, apply_to<kMachine, apply_name>},

    {"serial", "stdio|none|null|file:PATH",
     "where COM1 (ttyS0) goes; stdio if not given.\nOn a terminal Ctrl-A x ends the guest", "stdio",
     Group::kConsole, apply_one_serial},
    {"nographic", "", "no window: always so in tapir", "", Group::kConsole, accept},

    {"netdev", "bridge,id=ID[,KEY=VALUE]... | tap,id=ID,KEY=VALUE...",
     "a backend, which is a tap of the host.\n"
     "bridge: the bridge helper makes one; keys br=NAME (br0\n"
     "if not given), helper=COMMAND, queues=N and\n"
     "down-helper=COMMAND, which runs at the end.\n"
     "tap: one that is there, ifname=NAME[,vnet_hdr=on|off],\n"
     "script=no,downscript=no or fd=N; or helper=COMMAND\n"
     "with the keys of bridge",
     "bridge,id=n0,br=br0", Group::kNetwork, apply_network<&NetworkOptions::add_netdev>},
    {"device", "virtio-net-pci|virtio-net-device,netdev=ID[,mac=MAC][,id=ID]",
     "a network card joined to the netdev, on PCI or on\nvirtio-mmio", "virtio-net-pci,netdev=n0",
     Group::kNetwork, apply_network<&NetworkOptions::add_device>},
    {"net", "bridge,... | tap,... | nic[,model=virtio][,macaddr=MAC] | none",
     "the older form: one backend and one -net nic make a\npair", "bridge", Group::kNetwork,
     apply_network<&NetworkOptions::add_net>},
    {"nic", "bridge|tap[,KEY=VALUE]...[,model=virtio][,mac=MAC] | none",
     "a backend and its card in one option. none: no card,\nas without network options", "bridge,br=br0",
     Group::kNetwork, apply_network<&NetworkOptions::add_nic>},

    {"nodefaults", "", "tapir adds no default devices", "", Group::kCompatibility, accept},
    {"no-user-config", "", "tapir reads no configuration file", "", Group::kCompatibility, accept},
    {"enable-kvm", "", "tapir always uses KVM", "", Group::kCompatibility, accept},
    {"accel", "kvm", "the same", "kvm", Group::kCompatibility, accept_kvm_only},
    {"machine", "q35|pc|microvm[,accel=kvm]", "tapir has one machine", "q35", Group::kCompatibility,
     [](OptionState&, std::string_view argument) { return check_machine_type(argument); }},
    {"M", "q35|pc|microvm[,accel=kvm]", "the same as -machine", "q35", Group::kCompatibility,
     [](OptionState&, std::string_view argument) { return check_machine_type(argument); }},
    {"display", "none", "tapir has no display", "none", Group::kCompatibility, accept_none_only},
    {"vga", "none", "nor a graphics card", "none", Group::kCompatibility, accept_none_only},
    {"monitor", "none", "nor a monitor", "none", Group::kCompatibility, accept_none_only},
    {"parallel", "none", "nor a parallel port", "none", Group::kCompatibility, accept_none_only},

    {"help", "", "print this and exit (also -h)", "", Group::kInformation, nullptr},
    {"version", "", "print the version and exit", "", Group::kInformation, nullptr},
};

constexpr std::string_view group_title(Group group) {
  switch (group) {
    case Group::kBoot:
      return "What to boot";
    case Group::kMachine:
      return "The machine";
    case Group::kConsole:
      return "Console";
    case Group::kNetwork:
      return "Network";
    case Group::kCompatibility:
      return "Accepted so that QEMU command lines work, without effect";
    case Group::kInformation:
      return "Information";
  }
  return {};
}

void append_option(std::string& text, const OptionSpec& option) {
  static constexpr std::size_t kHelpColumn = 24;
  std::string line = fmt::format("  -{}", option.name);
  if (!option.argument.empty()) {
    line.append(" ").append(option.argument);
  }
  if (line.size() + 2 > kHelpColumn) {
    text.append(line).append("\n");
    line.clear();
  }
  std::string_view help = option.help;
  while (!help.empty()) {
    const std::size_t end = std::min(help.find('\n'), help.size());
    text.append(fmt::format("{:<{}}{}\n", line, kHelpColumn, help.substr(0, end)));
    line.clear();
    help.remove_prefix(std::min(end + 1, help.size()));
  }
}

}  // namespace

std::span<const OptionSpec> option_table() {
  return kTable;
}

const OptionSpec* find_option(std::string_view name) {
  const std::string_view wanted = name == "h" ? "help" : name;
  const auto* const found = std::find_if(std::begin(kTable), std::end(kTable),
                                         [&](const OptionSpec& option) { return option.name == wanted; });
  return found == std::end(kTable) ? nullptr : found;
}

std::string help_text() {
  std::string text =
      "tapir boots a Linux guest on KVM and connects it to the host's network.\n"
      "Its options are QEMU's; one dash or two make no difference.\n"
      "\n"
      "  tapir -kernel FILE [options]\n";
  const OptionSpec* previous = nullptr;
  for (const OptionSpec& option : kTable) {
    if (previous == nullptr || previous->group != option.group) {
      text.append(fmt::format("\n{}:\n", group_title(option.group)));
    }
    append_option(text, option);
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
      "8 KVM error, 128+N ended by signal N. The whole story: man tapir\n");
  return text;
}

std::string version_text() {
  return fmt::format("tapir {}\n", kVersion);
}

}  // namespace tapir::vmm
