// SPDX-License-Identifier: Apache-2.0
#include "vmm/option_table.h"

#include <algorithm>
#include <iterator>

#include "vmm/end_options.h"
#include "vmm/exit_device_options.h"
#include "vmm/json_items.h"
#include "vmm/machine_options.h"

namespace tapir::vmm {
namespace {

using Group = OptionSpec::Group;

void apply_kernel(OptionState& state, std::string_view argument, Problems&) {
  state.machine.kernel_path = argument;
}

void apply_append(OptionState& state, std::string_view argument, Problems&) {
  state.machine.command_line = argument;
}

void apply_one_serial(OptionState& state, std::string_view argument, Problems& problems) {
  if (state.serial_given) {
    problems.add("tapir has one serial port; give -serial once");
  }
  state.serial_given = true;
  problems.add_error_of(apply_serial(state.machine, argument));
}

void apply_no_reboot(OptionState& state, std::string_view, Problems&) {
  state.machine.reboot = false;
}

void apply_no_shutdown(OptionState& state, std::string_view, Problems&) {
  state.machine.end.pause_at_shutdown = true;
}

void apply_dry_run(OptionState& state, std::string_view, Problems&) {
  state.dry_run = true;
}

void accept(OptionState&, std::string_view, Problems&) {}

void accept_none_only(OptionState&, std::string_view argument, Problems& problems) {
  if (argument != "none") {
    problems.add("tapir has no such thing; only none is accepted");
  }
}

void accept_kvm_only(OptionState&, std::string_view argument, Problems& problems) {
  if (argument != "kvm") {
    problems.add("tapir runs on KVM only; use -accel kvm or leave it out");
  }
}

void check_machine(OptionState&, std::string_view argument, Problems& problems) {
  problems.add_error_of(check_machine_type(argument));
}

/// Lets a function that takes part of the state stand in the table.
template <auto kFunction>
void apply_machine(OptionState& state, std::string_view argument, Problems& problems) {
  problems.add_error_of(kFunction(state.machine, argument));
}

void apply_device(OptionState& state, std::string_view argument, Problems& problems) {
  const auto items = read_items(argument, "driver", problems);
  if (!items) {
    return;
  }
  if (is_exit_device(last_value(*items, "driver"))) {
    add_exit_device(state.machine, *items, problems);
  } else {
    state.network.add_device(argument, *items, problems);
  }
}

template <auto kMethod>
void apply_network(OptionState& state, std::string_view argument, Problems& problems) {
  (state.network.*kMethod)(argument, problems);
}

constexpr OptionSpec kTable[] = {
    {"kernel", "FILE",
     "the guest's kernel: a bzImage (vmlinuz), an ELF vmlinux or a multiboot kernel; needed",
     "A bzImage is a 64-bit one of boot protocol 2.12 or later, which is Linux 3.8. A vmlinux is started by "
     "its PVH note, or else at its entry in 64-bit mode. A multiboot kernel has a header of version 1, in a "
     "32-bit ELF file or with addresses of its own. Any of these may be compressed with gzip or zstd.",
     "/boot/vmlinuz", Group::kBoot, apply_kernel},
    {"initrd", "FILE[,FILE]...", "initial RAM disk; of several, Linux unpacks one over the other",
     "A multiboot kernel gets each as a module; arguments for it may follow FILE behind a blank. A comma in "
     "a "
     "name is written twice. All files are opened at the start and read again, through the same descriptors, "
     "each time the guest resets.",
     "/boot/initrd.img", Group::kBoot, apply_machine<apply_initrds>},
    {"append", "TEXT", "the kernel's command line", "", "console=ttyS0", Group::kBoot, apply_append},
    {"no-reboot", "", "end when the guest resets, instead of starting it again", "The status is then 0.", "",
     Group::kBoot, apply_no_reboot},

    {"m", "[size=]N[K|M|G|T]", "memory in mebibytes, or with a suffix; 128 if not given",
     "At least 2M. A fraction is allowed before a suffix, as in 1.5G.", "256", Group::kMachine,
     apply_machine<apply_memory>},
    {"smp", "[cpus=]N", "number of CPUs, 1 to 64; 1 if not given", "", "2", Group::kMachine,
     apply_machine<apply_cpus>},
    {"cpu", "host[,+NAME|,-NAME|,NAME=on|off]...",
     "the host's CPU, with features (as in /proc/cpuinfo) added or left out",
     "Without this option the guest has the host's CPU too. What needs a feature that is left out goes with "
     "it: "
     "without avx there is no avx2.",
     "host,-avx512f", Group::kMachine, apply_machine<apply_cpu_model>},
    {"name", "[guest=]NAME",
     "name of the guest; with one, its default MAC addresses stay the same from run to run",
     "See MAC ADDRESSES below.", "web1", Group::kMachine, apply_machine<apply_name>},

    {"action", "KEY=VALUE[,KEY=VALUE]...",
     "what to do when the guest resets (reboot=reset|shutdown), powers off (shutdown=poweroff|pause) or "
     "panics (panic=exit-failure|shutdown|pause|none)",
     "If not given: reset, poweroff, exit-failure. reboot=shutdown is the same as -no-reboot, and "
     "shutdown=pause as -no-shutdown; what is given last counts. With panic=shutdown a panic ends the run "
     "with "
     "status 0; with none it does not end it, which a kernel needs that starts another one to save its "
     "memory. Where tapir pauses, the guest stands still and tapir waits for a signal, Ctrl-A x or the time "
     "limit. The key watchdog of QEMU's is an error.",
     "panic=pause", Group::kEnd, apply_machine<apply_action>},
    {"no-shutdown", "", "keep tapir when the guest powers off, until it is ended from outside",
     "With -no-reboot also when it resets.", "", Group::kEnd, apply_no_shutdown},
    {"time-limit", "SECONDS[,warn=SECONDS]",
     "end the run after so long, with status 124; warn= presses the power button so long before",
     "It counts from the guest's first instruction, through its reboots. A guest that shuts down by the "
     "power button ends with status 124 all the same.",
     "600,warn=20", Group::kEnd, apply_machine<apply_time_limit>},
    {"expect", "REGEX", "end the run with status 0 once a line of the console matches",
     "May be given more than once: each has to match, in any order. If the guest powers off before, the "
     "status "
     "is 10. See WATCHING THE CONSOLE below.",
     "ready", Group::kEnd, apply_machine<apply_expect>},
    {"fail", "REGEX", "end the run with status 10 once a line of the console matches",
     "May be given more than once: one is enough.", "error", Group::kEnd, apply_machine<apply_fail>},
    {"report", "FILE", "write to this file how the run ended, in JSON", "See THE REPORT below.", "run.json",
     Group::kEnd, apply_machine<apply_report>},

    {"serial", "stdio|none|null|file:PATH",
     "where the serial port COM1 (ttyS0) goes; stdio if not given. On a terminal Ctrl-A x ends the guest",
     "stdio is standard input and output; null takes all and gives nothing; file: writes to a file, which is "
     "emptied when the guest starts and not when it cannot; with none the guest has no serial port. "
     "mon:stdio is "
     "the same as stdio. On a terminal Ctrl-A h lists the keys, and Ctrl-A twice sends one Ctrl-A; from a "
     "file or "
     "pipe every byte goes to the guest. Output never holds the guest up: what its reader does not take in "
     "time, "
     "or a full disk refuses, is dropped, and a warning at the end says how much it was.",
     "stdio", Group::kConsole, apply_one_serial},
    {"nographic", "", "no window: always so in tapir", "", "", Group::kConsole, accept},

    {"netdev", "bridge|tap|hubport,id=ID[,KEY=VALUE]...",
     "a backend, for the NIC of a -device; -netdev help lists them and their keys",
     "It may be JSON: '{\"type\":\"bridge\",\"id\":\"n0\"}', where numbers are numbers, and on and off are "
     "true "
     "and false.",
     "bridge,id=n0,br=br0", Group::kNetwork, apply_network<&NetworkOptions::add_netdev>},
    {"device", "DRIVER[,netdev=ID][,KEY=VALUE]...",
     "virtio-net-pci or virtio-net-device: a NIC, joined to the netdev. isa-debug-exit or tapir-exit: a port "
     "by which the guest chooses the exit status. -device virtio-net-pci,help lists the keys of one",
     "Each backend has one NIC. virtio-net and virtio-net-pci-non-transitional are the same as "
     "virtio-net-pci. It "
     "may be JSON as well. What a guest writes to the port of isa-debug-exit or tapir-exit ends the run: see "
     "EXIT STATUS below.",
     "virtio-net-pci,netdev=n0", Group::kNetwork, apply_device},
    {"nic", "bridge|tap|hubport[,KEY=VALUE]...[,model=virtio][,mac=MAC] | none",
     "a backend and its NIC in one option. none: no NIC, as without network options",
     "It has the keys of -netdev, of which id is not needed.", "bridge,br=br0", Group::kNetwork,
     apply_network<&NetworkOptions::add_nic>},
    {"net", "bridge|tap[,KEY=VALUE]... | nic[,KEY=VALUE]... | none",
     "the older form: all such backends and NICs are on one hub",
     "One NIC and one backend are joined directly and have every offload, where QEMU puts a hub between them "
     "that takes the offloads away. Three and more share a hub, which sends each frame to all the others, "
     "with "
     "those offloads only that every port has.",
     "bridge", Group::kNetwork, apply_network<&NetworkOptions::add_net>},

    {"nodefaults", "", "tapir adds no default devices", "", "", Group::kCompatibility, accept},
    {"no-user-config", "", "tapir reads no configuration file", "", "", Group::kCompatibility, accept},
    {"enable-kvm", "", "tapir always uses KVM", "", "", Group::kCompatibility, accept},
    {"accel", "kvm", "tapir always uses KVM", "", "kvm", Group::kCompatibility, accept_kvm_only},
    {"machine", "[type=]q35|pc|microvm[,accel=kvm]", "tapir has one machine", "", "q35",
     Group::kCompatibility, check_machine},
    {"M", "[type=]q35|pc|microvm[,accel=kvm]", "the same as -machine", "", "q35", Group::kCompatibility,
     check_machine},
    {"display", "none", "tapir has no display", "", "none", Group::kCompatibility, accept_none_only},
    {"vga", "none", "tapir has no graphics card", "", "none", Group::kCompatibility, accept_none_only},
    {"monitor", "none", "tapir has no monitor", "", "none", Group::kCompatibility, accept_none_only},
    {"parallel", "none", "tapir has no parallel port", "", "none", Group::kCompatibility, accept_none_only},

    {"d", "net", "tell more on standard error. net: a line for each NIC at the start",
     "It is the line of info network in QEMU's monitor.", "net", Group::kInformation,
     apply_machine<apply_log>},
    {"dry-run", "", "check the command line, print what it comes to, and exit",
     "Nothing of the host is opened. What is printed is one line for a shell, in one form for all lines with "
     "the "
     "same meaning: -netdev and -device for all of the network, and only what differs from the defaults.",
     "", Group::kInformation, apply_dry_run},
    {"help", "", "print this and exit (also -h)", "", "", Group::kInformation, nullptr},
    {"version", "", "print the version and exit", "", "", Group::kInformation, nullptr},
};

}  // namespace

std::span<const OptionSpec> option_table() {
  return kTable;
}

std::string_view group_title(Group group) {
  switch (group) {
    case Group::kBoot:
      return "What to boot";
    case Group::kMachine:
      return "The machine";
    case Group::kEnd:
      return "How a run ends";
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

const OptionSpec* find_option(std::string_view name) {
  const std::string_view wanted = name == "h" ? "help" : name;
  const auto* const found = std::find_if(std::begin(kTable), std::end(kTable),
                                         [&](const OptionSpec& option) { return option.name == wanted; });
  return found == std::end(kTable) ? nullptr : found;
}

}  // namespace tapir::vmm
