// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace tapir::vmm {

/// What a line of the console means that Linux printed itself.
enum class KernelMessage : std::uint8_t {
  kNone,
  kPanic,     ///< "Kernel panic - not syncing: …" (kernel/panic.c)
  kPanicEnd,  ///< "---[ end Kernel panic - not syncing: …", after which nothing happens any more
  kInit,      ///< "Run /init as init process" (init/main.c)
};

/// Only what the kernel says counts, not what a program quotes: the words stand at the start of the line, or
/// after the kernel's time stamp, "[    1.234567] " or with CONFIG_PRINTK_CALLER "[    1.234567][    T1] ".
/// The time stamp begins the line, or follows a blank, as when a prompt stands before it. So neither `grep
/// panic log`, which puts the file's name before, nor a message saved by pstore, with its level "<0>" before
/// the stamp, nor a log of syslog with its date and host is taken for a panic.
KernelMessage kernel_message(std::string_view line);

}  // namespace tapir::vmm
