// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "net/base/result.h"
#include "vmm/machine_config.h"

/// The arguments of the options that describe the machine, one function each, pure. Errors name the value at
/// fault but not the option. The grammar is QEMU's (qemu-options.hx).
namespace tapir::vmm {

/// The least memory that any guest of tapir starts in: 1 MiB below the legacy hole's end, and the kernel
/// above it.
inline constexpr std::uint64_t kMinMemoryBytes = 2U << 20U;
/// The most that a 4-level guest can address.
inline constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 46U;

/// `FILE[,FILE]...`; a comma in a name is doubled. Replaces what was given before; empty for none.
[[nodiscard]] Status apply_initrds(MachineConfig& machine, std::string_view argument);
/// `[size=]N[K|M|G|T]`, mebibytes without a suffix; rounded up to whole pages.
[[nodiscard]] Status apply_memory(MachineConfig& machine, std::string_view argument);
/// `[cpus=]N`, 1 to 64.
[[nodiscard]] Status apply_cpus(MachineConfig& machine, std::string_view argument);
/// `host[,+feature][,-feature][,feature=on|off]`. A feature that is both switched on and off is an error.
[[nodiscard]] Status apply_cpu_model(MachineConfig& machine, std::string_view argument);
/// `[guest=]NAME`.
[[nodiscard]] Status apply_name(MachineConfig& machine, std::string_view argument);
/// `stdio`, `mon:stdio` (the same), `none`, `null` or `file:PATH`.
[[nodiscard]] Status apply_serial(MachineConfig& machine, std::string_view argument);
/// `net`: one line for each NIC at the start.
[[nodiscard]] Status apply_log(MachineConfig& machine, std::string_view argument);
/// `[type=]q35|pc|microvm[,accel=kvm]`: nothing to set, for tapir has one machine.
[[nodiscard]] Status check_machine_type(std::string_view argument);

}  // namespace tapir::vmm
