// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <new>
#include <string>
#include <string_view>

#include "helper/grant.h"
#include "net/base/printable.h"

namespace {

// The longest sentence; a longer one loses its end.
constexpr std::size_t kMaxErrorBytes = 1024;

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return false;
    }
    text.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
  }
  return true;
}

// One write(2) for the whole line, printable whatever is in it, so that callers can pass it on.
void complain(std::string_view sentence) {
  write_all(STDERR_FILENO, "tapir-bridge-helper: " + tapir::printable(sentence, kMaxErrorBytes) + '\n');
}

// In place of std::bad_alloc, which itself needs memory to be thrown.
[[noreturn]] void out_of_memory() {
  write_all(STDERR_FILENO, "tapir-bridge-helper: out of memory\n");
  ::_exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  std::set_new_handler(out_of_memory);
  const tapir::helper::Outcome outcome =
      tapir::helper::run({argv, argc > 0 ? static_cast<std::size_t>(argc) : 0});
  for (const std::string& error : outcome.errors) {
    complain(error);
  }
  if (!write_all(STDOUT_FILENO, outcome.output)) {
    complain("cannot write to standard output");
    return 1;
  }
  return outcome.exit_status();
}
