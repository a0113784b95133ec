// SPDX-License-Identifier: Apache-2.0
#include "vmm/kernel_message.h"

#include <gtest/gtest.h>

namespace tapir::vmm {
namespace {

TEST(KernelMessageTest, KnowsAPanicAtTheStartAndAfterATimeStamp) {
  for (const char* const line :
       {"Kernel panic - not syncing: VFS: Unable to mount root fs",
        "[    1.234567] Kernel panic - not syncing: VFS",
        "[12345.678901] Kernel panic - not syncing: Attempted to kill init!",
        "[    1.234567][    T1] Kernel panic - not syncing: VFS",
        "[    1.234567][   C12] Kernel panic - not syncing: Fatal exception in interrupt",
        "tapir login: [    1.234567] Kernel panic - not syncing: sysrq triggered crash"}) {
    EXPECT_EQ(kernel_message(line), KernelMessage::kPanic) << line;
  }
}

TEST(KernelMessageTest, TakesNoQuotedPanicForOne) {
  for (const char* const line :
       {"", "Kernel panic", "[    1.234567] Kernel panic - not syncing",
        "echo Kernel panic - not syncing: VFS", "log:[    1.234567] Kernel panic - not syncing: VFS",
        "<0>[    1.234567] Kernel panic - not syncing: VFS",
        "Nov 25 19:05:12 host kernel: Kernel panic - not syncing: VFS",
        "[  OK  ] Kernel panic - not syncing: VFS", "[1.2.3] Kernel panic - not syncing: VFS",
        "[    1.234567]Kernel panic - not syncing: VFS", "[    T1] Kernel panic - not syncing: VFS",
        "[.5] Kernel panic - not syncing: VFS", "[5.] Kernel panic - not syncing: VFS",
        "] Kernel panic - not syncing: VFS", "grep 'end Kernel panic - not syncing: VFS"}) {
    EXPECT_EQ(kernel_message(line), KernelMessage::kNone) << line;
  }
}

TEST(KernelMessageTest, KnowsTheEndOfAPanic) {
  EXPECT_EQ(kernel_message("[    1.234567] ---[ end Kernel panic - not syncing: VFS ]---"),
            KernelMessage::kPanicEnd);
  EXPECT_EQ(kernel_message("x---[ end Kernel panic - not syncing: VFS ]---"), KernelMessage::kNone);
}

TEST(KernelMessageTest, KnowsTheFirstProgram) {
  EXPECT_EQ(kernel_message("[    0.512345] Run /init as init process"), KernelMessage::kInit);
  EXPECT_EQ(kernel_message("[    0.512345] Run /sbin/init as init process"), KernelMessage::kInit);
  EXPECT_EQ(kernel_message("do not Run /init as init process"), KernelMessage::kNone);
}

}  // namespace
}  // namespace tapir::vmm
