// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>

#include "net/base/unique_fd.h"

namespace tapir::vmm::testing {

/// A pseudo-terminal: what the operator's terminal emulator holds, and what the program sees.
struct Pty {
  UniqueFd operator_side;
  UniqueFd program_side;

  static Pty open() {
    Pty pty;
    pty.operator_side.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(pty.operator_side);
    EXPECT_EQ(::grantpt(pty.operator_side.get()), 0);
    EXPECT_EQ(::unlockpt(pty.operator_side.get()), 0);
    char name[64] = {};
    EXPECT_EQ(::ptsname_r(pty.operator_side.get(), name, sizeof name), 0);
    pty.program_side.reset(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(pty.program_side);
    return pty;
  }

  termios mode() const {
    termios result{};
    EXPECT_EQ(::tcgetattr(program_side.get(), &result), 0);
    return result;
  }
  bool raw() const { return (mode().c_lflag & ICANON) == 0; }
};

/// All that "stty -g" prints.
inline bool same_mode(const termios& left, const termios& right) {
  return left.c_iflag == right.c_iflag && left.c_oflag == right.c_oflag && left.c_cflag == right.c_cflag &&
         left.c_lflag == right.c_lflag && std::memcmp(left.c_cc, right.c_cc, sizeof left.c_cc) == 0;
}

}  // namespace tapir::vmm::testing
