// SPDX-License-Identifier: Apache-2.0
// A bridge helper that does what its name says: `tap+exit1` sends a tap and exits with 1. It writes what it
// was given (arguments, descriptors, signals) to NAME.report first. See helper_directory.h.
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/parse.h"
#include "net/base/unique_fd.h"
#include "net/fd_passing.h"

namespace tapir::net {
namespace {

constexpr int kBroken = 70;  // the fake itself failed

using Words = std::vector<std::string>;

std::string option(const Words& arguments, const std::string& name, const std::string& otherwise) {
  const auto found = std::find_if(arguments.rbegin(), arguments.rend(),
                                  [&](const std::string& word) { return word.starts_with(name + "="); });
  return found == arguments.rend() ? otherwise : found->substr(name.size() + 1);
}

unsigned number(const Words& arguments, const std::string& name, const std::string& otherwise) {
  return static_cast<unsigned>(parse_unsigned(option(arguments, name, otherwise)).value());
}

UniqueFd open_tun(const Words& arguments, const std::string& name, int flags) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  const bool has_vnet_header = std::count(arguments.begin(), arguments.end(), "--use-vnet") != 0;
  request.ifr_flags = static_cast<short>(flags | IFF_NO_PI | (has_vnet_header ? IFF_VNET_HDR : 0));
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) {
    std::perror("fake: TUNSETIFF");
    std::exit(kBroken);
  }
  return fd;
}

// One message with `count` descriptors that open() returns.
template <typename Open>
void send(int socket, std::size_t count, Open open) {
  std::vector<UniqueFd> fds;
  for (std::size_t i = 0; i < count; ++i) {
    fds.push_back(open());
  }
  if (auto status = send_fds(socket, fds); !status) {
    // EPIPE: whoever started us has seen enough.
    if (status.error().code() != EPIPE) {
      std::cerr << "fake: " << status.error().message() << "\n";
    }
    std::exit(kBroken);
  }
}

void send_bytes(int socket, std::size_t count) {
  const std::vector<char> bytes(count);
  static_cast<void>(::send(socket, bytes.data(), bytes.size(), 0));
}

// One message with a tap that has more than the one byte.
void send_long(int socket, const UniqueFd& tap) {
  std::array<char, 8> bytes{};
  iovec data{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> buffer{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = buffer.data();
  message.msg_controllen = buffer.size();
  cmsghdr* const control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = tap.get();
  std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
  static_cast<void>(::sendmsg(socket, &message, 0));
}

UniqueFd open_file_of_own() {
  return UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
}

void write_report(const std::string& path, const Words& words) {
  std::ofstream report(path, std::ios::app);
  for (const std::string& word : words) {
    report << "argument " << word << "\n";
  }
  DIR* const directory = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlinkat(::dirfd(directory), entry->d_name, target.data(), target.size());
    target.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    // Not those of this function.
    if (size >= 0 && target != path && !target.ends_with("/fd")) {
      report << "descriptor " << name << " " << target.substr(0, target.find(":[")) << "\n";
    }
  }
  ::closedir(directory);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk:\t") || line.starts_with("SigIgn:\t")) {
      // glibc starts programs with its own two signals, 32 and 33, ignored.
      const auto signals = parse_unsigned("0x" + line.substr(8)).value() & ~0x1'8000'0000U;
      report << line.substr(0, 7) << " " << signals << "\n";
    }
  }
}

// Like sudo: closes all but the standard descriptors and runs the rest of the arguments.
void run_rest(const Words& words) {
  ::closefrom(STDERR_FILENO + 1);
  std::vector<char*> rest;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (!rest.empty() || words[i].starts_with("/")) {
      rest.push_back(const_cast<char*>(words[i].c_str()));
    }
  }
  rest.push_back(nullptr);
  ::execv(rest[0], rest.data());
  std::exit(kBroken);
}

bool send_step(std::string_view step, const Words& words, int socket) {
  if (step == "tap") {
    send(socket, 1, [&] { return open_tun(words, "tap%d", IFF_TAP); });
  } else if (step == "long") {
    send_long(socket, open_tun(words, "tap%d", IFF_TAP));
  } else if (step == "pair") {
    send(socket, 2, [&] { return open_tun(words, "tap%d", IFF_TAP); });
  } else if (step == "queues") {
    send(socket, number(words, "--queues", "1"),
         [&] { return open_tun(words, "tapq", IFF_TAP | IFF_MULTI_QUEUE); });
  } else if (step == "multi") {
    send(socket, 1, [&] { return open_tun(words, "tap%d", IFF_TAP | IFF_MULTI_QUEUE); });
  } else if (step == "tun") {
    send(socket, 1, [&] { return open_tun(words, "tun%d", IFF_TUN); });
  } else if (step == "unattached") {
    send(socket, 1, [] { return UniqueFd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC)); });
  } else if (step == "file") {
    send(socket, 1, open_file_of_own);
  } else if (step == "many") {
    send(socket, kMaxPassedFds, open_file_of_own);
  } else if (step == "byte") {
    send_bytes(socket, 1);
  } else if (step == "data") {
    send_bytes(socket, std::size_t{64} * 1024);
  } else {
    return false;
  }
  return true;
}

void do_step(std::string_view step, const Words& words, int socket) {
  if (send_step(step, words, socket)) {
    return;
  }
  if (step == "close") {
    ::close(socket);
  } else if (step == "hang") {
    ::pause();
  } else if (step == "killed") {
    ::raise(SIGKILL);
  } else if (step == "words") {
    std::cerr << "access to \x1B[31mbridge\adenied\nask root\n";
  } else if (step == "flood") {
    std::cerr << std::string(std::size_t{1024} * 1024, 'x');
  } else if (step == "child") {
    // Keeps all descriptors, the socket and stderr among them, for longer than any test waits.
    if (::fork() == 0) {
      ::alarm(20);
      ::pause();
    }
  } else if (step == "exit1") {
    std::exit(1);
  } else if (step == "sudo") {
    run_rest(words);
  } else if (step != "tapir" && step != "mute" && step != "nothing") {
    std::cerr << "fake: there is no step " << step << "\n";
    std::exit(kBroken);
  }
}

int answer_version(const std::string& name) {
  if (name.find("mute") != std::string::npos) {
    ::pause();
  }
  if (name.find("tapir") == std::string::npos) {
    std::cout << "Usage: a-helper [--use-vnet] --br=bridge --fd=unixfd, unlike tapir-bridge-helper \n";
    return 1;
  }
  std::cout << "hello\ntapir-bridge-helper 0.1\n";
  return 0;
}

int run(const Words& words) {
  const std::string& path = words[0];
  const std::string name = path.substr(path.rfind('/') + 1);
  // Room for as many descriptors as a message can have, whatever we inherited.
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (words.back() == "--version" && name != "sudo") {
    return answer_version(name);
  }
  if (path.find('/') != std::string::npos) {
    write_report(path + ".report", words);
  }
  const int socket = static_cast<int>(number(words, "--fd", "0"));
  for (std::size_t start = 0; start <= name.size();) {
    const std::size_t end = std::min(name.find('+', start), name.size());
    do_step(std::string_view(name).substr(start, end - start), words, socket);
    start = end + 1;
  }
  return 0;
}

}  // namespace
}  // namespace tapir::net

int main(int argc, char** argv) {
  return tapir::net::run({argv, argv + argc});
}
