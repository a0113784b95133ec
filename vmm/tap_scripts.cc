// SPDX-License-Identifier: Apache-2.0
#include "vmm/tap_scripts.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "net/command_runner.h"

namespace tapir::vmm {

Result<std::string> find_script(const ScriptConfig& script, std::string_view option) {
  if (script.path.empty()) {
    return std::string();
  }
  // Not to be searched for in PATH, as a command is.
  const std::string program = script.path.find('/') == std::string::npos ? "./" + script.path : script.path;
  struct stat status {};
  if (::stat(program.c_str(), &status) < 0) {
    if (!script.given && errno == ENOENT) {
      return std::string();
    }
    return fail_errno(
        fmt::format("{0}={1}: name a program that is there, or say {0}=no", option, script.path));
  }
  if (!S_ISREG(status.st_mode) || ::access(program.c_str(), X_OK) < 0) {
    return fail(fmt::format("{0}={1}: uid {2} cannot run this; allow it with `chmod +x {1}`, or say {0}=no",
                            option, script.path, ::geteuid()),
                EACCES);
  }
  return program;
}

Status run_up_script(const std::string& program, const std::string& ifname, std::chrono::seconds limit) {
  net::ChildDescriptors descriptors;
  descriptors.capture_output = true;
  TAPIR_TRY_ASSIGN(net::ChildProcess child, net::ChildProcess::start({program, ifname}, descriptors));
  const auto status = child.wait(net::ChildProcess::Clock::now() + limit);
  if (status && status->success()) {
    return {};
  }
  std::string what = fmt::format(
      "the script '{} {}' {}", net::one_line(program), ifname,
      status ? status->to_string() : fmt::format("did not end in {} s and was stopped", limit.count()));
  const std::string& words = child.errors().empty() ? child.output() : child.errors();
  if (const std::string line = net::one_line(words); !line.empty()) {
    what.append(" and says: ").append(line);
  }
  return fail(what + "; correct it, name another with script=, or say script=no");
}

}  // namespace tapir::vmm
