// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/tap_end.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "net/base/parse.h"
#include "net/testing/private_network.h"
#include "net/vnet_header.h"
#include "tools/bench/frames.h"

namespace tapir::bench {
namespace {

// PACKET_VNET_HDR carries the header without num_buffers.
constexpr std::size_t kShortHeaderBytes = 10;
constexpr std::size_t kMaxPieces = 64;
/// Of each frame received only the start is looked at.
constexpr std::size_t kLookedAtBytes = 128;
constexpr int kSocketBufferBytes = 64 * 1024 * 1024;

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

Result<std::uint64_t> read_count(const std::string& interface, const char* counter) {
  const std::string path = "/sys/class/net/" + interface + "/statistics/" + counter;
  std::ifstream file(path);
  std::string text;
  std::getline(file, text);
  const auto value = parse_unsigned(text);
  if (!value) {
    return fail("cannot read " + path);
  }
  return *value;
}

}  // namespace

Status ignore_outgoing(int socket) {
  const int on = 1;
  return ::setsockopt(socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0
             ? fail_errno("PACKET_IGNORE_OUTGOING")
             : Status{};
}

Result<TapCounts> tap_counts(const std::string& interface) {
  // Named from the host's side of the tap: it receives what is written.
  TapCounts counts;
  TAPIR_TRY_ASSIGN(counts.written, read_count(interface, "rx_packets"));
  TAPIR_TRY_ASSIGN(counts.read_dropped, read_count(interface, "tx_dropped"));
  return counts;
}

Result<PacketEnd> PacketEnd::open(const std::string& interface, Use use) {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  const int on = 1;
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = use == Use::kBoth ? htons(ETH_P_IP) : std::uint16_t{0};
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (!fd || ::setsockopt(fd.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0) {
    return fail_errno("packet socket on " + interface);
  }
  TAPIR_TRY(ignore_outgoing(fd.get()));
  // Beyond the limits of the system only with privilege over the whole of it; what is granted will do.
  for (const auto& [forced, plain] :
       {std::pair{SO_SNDBUFFORCE, SO_SNDBUF}, std::pair{SO_RCVBUFFORCE, SO_RCVBUF}}) {
    if (::setsockopt(fd.get(), SOL_SOCKET, forced, &kSocketBufferBytes, sizeof kSocketBufferBytes) < 0) {
      static_cast<void>(
          ::setsockopt(fd.get(), SOL_SOCKET, plain, &kSocketBufferBytes, sizeof kSocketBufferBytes));
    }
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("packet socket on " + interface);
  }
  return PacketEnd(std::move(fd));
}

Status PacketEnd::send(std::span<const iovec> pieces) const {
  std::array<iovec, kMaxPieces> parts{};
  auto* const start = static_cast<std::byte*>(pieces.front().iov_base);
  parts[0] = {start, kShortHeaderBytes};
  parts[1] = {start + net::kVnetHeaderBytes, pieces.front().iov_len - net::kVnetHeaderBytes};
  std::copy(pieces.begin() + 1, pieces.end(), parts.begin() + 2);
  if (::writev(fd_.get(), parts.data(), static_cast<int>(pieces.size()) + 1) < 0) {
    return fail_errno("packet socket");
  }
  return {};
}

bool PacketEnd::receive(SequenceChecker& checker) {
  std::array<std::byte, kLookedAtBytes> start;
  std::array<iovec, 2> parts{
      iovec{start.data(), kShortHeaderBytes},
      iovec{start.data() + net::kVnetHeaderBytes, start.size() - net::kVnetHeaderBytes}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  bool any = false;
  for (;;) {
    const ssize_t size = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_TRUNC);
    if (size < 0) {
      return any;
    }
    any = true;
    const auto bytes = std::min(static_cast<std::size_t>(size) + 2, start.size());
    if (const auto number = read_number(std::span(start).first(bytes))) {
      checker.see(*number);
    } else {
      checker.see_damaged();
    }
  }
}

bool PacketEnd::wait(int milliseconds) const {
  pollfd readable{fd_.get(), POLLIN, 0};
  return ::poll(&readable, 1, milliseconds) == 1;
}

std::uint64_t PacketEnd::take_dropped() const {
  tpacket_stats stats{};
  socklen_t size = sizeof stats;
  return ::getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0 ? stats.tp_drops : 0;
}

Result<TapEnd> TapEnd::create() {
  static unsigned created = 0;
  net::TapOptions options;
  options.vnet_header = true;
  TAPIR_TRY_ASSIGN(net::Tap tap, net::Tap::open("bench" + std::to_string(created++), options));
  return TapEnd(std::move(tap));
}

Status TapEnd::set_offloads(unsigned tun_offloads) const {
  return ::ioctl(fd(), TUNSETOFFLOAD, static_cast<unsigned long>(tun_offloads)) == 0
             ? Status{}
             : fail_errno("TUNSETOFFLOAD on " + name_);
}

Status enter_private_network() {
  auto entered = net::testing::enter_network_namespace();
  if (!entered) {
    return tl::unexpected<Error>(std::move(entered).error().with_context(
        "cannot make a network namespace of its own, which takes root, or a user namespace and a usable "
        "/dev/net/tun"));
  }
  return {};
}

}  // namespace tapir::bench
