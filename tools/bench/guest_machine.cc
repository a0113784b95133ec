// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/guest_machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <system_error>
#include <utility>
#include <vector>

#include "net/testing/private_network.h"
#include "tools/bench/tap_end.h"

namespace tapir::bench {
namespace {

constexpr std::chrono::milliseconds kPatience{5000};
/// An emulated kernel mode takes a second to come up, a sanitizer's tapir longer.
constexpr std::chrono::milliseconds kStartPatience{20'000};
constexpr const char* kGuestMebibytes = "128";

/// The first of these files, from the directory of this program on.
Result<std::string> beside_us(const char* what, std::initializer_list<const char*> places) {
  std::error_code error;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<std::string> tried;
  for (const char* const place : places) {
    std::filesystem::path path = (here / place).lexically_normal();
    if (std::filesystem::exists(path, error)) {
      return path.string();
    }
    tried.push_back(path.string());
  }
  return fail(fmt::format("{} is missing: there is no {}; install tapir and tapir-bench together", what,
                          fmt::join(tried, " nor ")));
}

}  // namespace

Result<std::unique_ptr<GuestMachine>> GuestMachine::start(const GuestSetup& setup) {
  static unsigned started = 0;
  const std::string tap = fmt::format("guest{}", started++);
  TAPIR_TRY(net::testing::make_persistent_tap(tap));
  std::unique_ptr<GuestMachine> machine(new GuestMachine(tap));
  TAPIR_TRY(machine->open_control());
  TAPIR_TRY(machine->start_tapir(setup));
  if (!machine->take_report(kStartPatience)) {
    // Says why.
    TAPIR_TRY_ASSIGN(const guest::Report late, machine->wait_for_report());
    static_cast<void>(late);
  }
  return machine;
}

GuestMachine::~GuestMachine() {
  tapir_.reset();
  static_cast<void>(net::testing::delete_link(tap_));
}

Status GuestMachine::open_control() {
  control_ = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(guest::kEtherType);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(tap_.c_str()));
  TAPIR_TRY(ignore_outgoing(control_.get()));
  if (::bind(control_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("packet socket on " + tap_);
  }
  return {};
}

Status GuestMachine::start_tapir(const GuestSetup& setup) {
  TAPIR_TRY_ASSIGN(const std::string program, beside_us("tapir", {"tapir", "../../vmm/tapir"}));
  TAPIR_TRY_ASSIGN(
      const std::string image,
      beside_us("the guest", {TAPIR_BENCH_GUEST_FROM_BIN, "../../guest-tests/freestanding/bench.elf"}));
  std::string append = fmt::format("event-idx={:d} large={:d} echo={:d} batch={}", setup.event_index,
                                   setup.large_frames, setup.echoes, setup.batch);
  if (setup.lose) {
    append += fmt::format(" lose={}", *setup.lose);
  }
  net::ChildDescriptors descriptors;
  descriptors.capture_output = true;
  TAPIR_TRY_ASSIGN(
      net::ChildProcess child,
      net::ChildProcess::start({program, "-kernel", image, "-append", append, "-m", kGuestMebibytes,
                                "-nographic", "-no-reboot", "-netdev",
                                fmt::format("tap,id=n0,ifname={},script=no,downscript=no,io={},poll-us={}",
                                            tap_, setup.engine.name, setup.engine.poll_us),
                                "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01"},
                               descriptors));
  tapir_.emplace(std::move(child));
  return {};
}

Status GuestMachine::order(const guest::Command& command) {
  // To the address that numbered frames go to; the guest's driver takes everything.
  std::array<std::byte, guest::kEthernetBytes + sizeof command> frame{};
  frame[0] = std::byte{2};
  frame[5] = std::byte{1};
  frame[6] = std::byte{2};
  frame[11] = std::byte{2};
  frame[12] = std::byte{guest::kEtherType >> 8U};
  frame[13] = std::byte{guest::kEtherType & 0xFFU};
  std::memcpy(frame.data() + guest::kEthernetBytes, &command, sizeof command);
  return ::send(control_.get(), frame.data(), frame.size(), 0) < 0 ? fail_errno("packet socket on " + tap_)
                                                                   : Status{};
}

Status GuestMachine::send(const FrameMix& mix, std::uint64_t first, std::uint64_t frames) {
  guest::Command command{};
  command.kind = guest::Kind::kSend;
  command.frame_bytes = static_cast<std::uint32_t>(mix.sizes.front());
  command.first = first;
  command.frames = frames;
  std::vector<std::byte> frame(mix.sizes.front());
  write_frame(frame);
  std::memcpy(command.headers, frame.data(), sizeof command.headers);
  return order(command);
}

Status GuestMachine::ask() {
  guest::Command command{};
  command.kind = guest::Kind::kReport;
  return order(command);
}

std::optional<guest::Report> GuestMachine::take_report(std::chrono::milliseconds limit) {
  if (tapir_->wait_for(control_.get(), net::ChildProcess::Clock::now() + limit) !=
      net::ChildProcess::Wake::kReadable) {
    return std::nullopt;
  }
  std::array<std::byte, guest::kEthernetBytes + sizeof(guest::Report)> frame;
  if (::recv(control_.get(), frame.data(), frame.size(), MSG_DONTWAIT) !=
      static_cast<ssize_t>(frame.size())) {
    return std::nullopt;
  }
  guest::Report report{};
  std::memcpy(&report, frame.data() + guest::kEthernetBytes, sizeof report);
  ++reports_;
  return report;
}

Result<guest::Report> GuestMachine::wait_for_report() {
  if (const auto report = take_report(kPatience)) {
    return *report;
  }
  const auto status = tapir_->wait(net::ChildProcess::Clock::now());
  return fail(fmt::format("{}; {}",
                          status ? "tapir " + status->to_string()
                                 : fmt::format("the guest has not answered for {} ms", kPatience.count()),
                          net::one_line(tapir_->errors() + " " + tapir_->output())));
}

}  // namespace tapir::bench
