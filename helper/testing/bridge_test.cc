// SPDX-License-Identifier: Apache-2.0
#include "helper/testing/bridge_test.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "net/testing/must_run.h"

namespace tapir::helper::testing {
namespace {

using std::chrono_literals::operator""s;

// ETH_P_802_EX1, for experiments.
constexpr std::array kFrameType{std::byte{0x88}, std::byte{0xB5}};
constexpr std::size_t kTypeOffset = 12;
constexpr std::size_t kFrameBytes = 60;
constexpr std::size_t kVnetHeaderBytes = 12;
constexpr std::size_t kReadBytes = 2048;

bool is_of_our_type(const Frame& frame) {
  return frame.size() >= kFrameBytes &&
         std::equal(kFrameType.begin(), kFrameType.end(), frame.begin() + kTypeOffset);
}

}  // namespace

std::string run(const std::string& command) {
  std::string text;
  FILE* const output = ::popen(command.c_str(), "re");
  std::array<char, 4096> part;
  for (std::size_t size = 0; (size = std::fread(part.data(), 1, part.size(), output)) > 0;) {
    text.append(part.data(), size);
  }
  EXPECT_EQ(::pclose(output), 0) << command;
  return text;
}

std::string sysfs(const std::string& interface, const std::string& file) {
  std::ifstream stream("/sys/class/net/" + interface + "/" + file);
  std::string line;
  return std::getline(stream, line) ? line : "none";
}

std::vector<std::string> interfaces() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/net")) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void as_user(uid_t uid, const std::function<void()>& body) {
  ASSERT_EQ(::seteuid(uid), 0);
  body();
  ASSERT_EQ(::seteuid(0), 0);
}

Result<UniqueFd> attach_queue(const std::string& name) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
  if (!fd || ::ioctl(fd.get(), TUNSETIFF, &request) < 0) {
    return fail_errno(name);
  }
  return fd;
}

Frame make_frame(const net::MacAddress& destination, const net::MacAddress& source, unsigned number) {
  Frame frame(kFrameBytes, static_cast<std::byte>(number));
  std::transform(destination.octets.begin(), destination.octets.end(), frame.begin(),
                 [](std::uint8_t octet) { return std::byte{octet}; });
  std::transform(source.octets.begin(), source.octets.end(), frame.begin() + 6,
                 [](std::uint8_t octet) { return std::byte{octet}; });
  std::copy(kFrameType.begin(), kFrameType.end(), frame.begin() + kTypeOffset);
  return frame;
}

net::MacAddress guest_address(std::uint8_t number) {
  return {{0x52, 0x54, 0x00, 0x00, 0x00, number}};
}

void send_frame(const Port& port, const Frame& frame) {
  EXPECT_EQ(::write(port.queues.front().get(), frame.data(), frame.size()),
            static_cast<ssize_t>(frame.size()));
}

bool is_readable(std::span<const UniqueFd> queues, std::chrono::milliseconds patience) {
  std::vector<pollfd> waiting;
  for (const UniqueFd& queue : queues) {
    waiting.push_back({queue.get(), POLLIN, 0});
  }
  return ::poll(waiting.data(), waiting.size(), static_cast<int>(patience.count())) > 0;
}

std::optional<Frame> receive_frame(const Port& port) {
  while (is_readable(port.queues, 2s)) {
    Frame frame(kReadBytes);
    const ssize_t size = ::read(port.queues.front().get(), frame.data(), frame.size());
    frame.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    if (is_of_our_type(frame)) {
      return frame;
    }
  }
  return std::nullopt;
}

Host::Host(const std::string& bridge) {
  auto socket = net::testing::PacketSocket::open(bridge);
  EXPECT_TRUE(socket);
  if (socket) {
    socket_.emplace(*std::move(socket));
  }
}

void Host::send(const Frame& frame) const {
  Frame with_header(kVnetHeaderBytes);
  with_header.insert(with_header.end(), frame.begin(), frame.end());
  EXPECT_TRUE(socket_->send(with_header));
}

std::optional<Frame> Host::receive() const {
  while (auto frame = socket_->receive()) {
    frame->erase(frame->begin(), frame->begin() + kVnetHeaderBytes);
    if (is_of_our_type(*frame)) {
      return frame;
    }
  }
  return std::nullopt;
}

void BridgeTest::SetUp() {
  if (::geteuid() != 0) {
    TAPIR_SKIP_TEST("needs root, to be several users");
  }
  TAPIR_ENTER_NETWORK_NAMESPACE();
  ASSERT_TRUE(net::testing::set_tun_device_mode(0666));
  if (::access("/sbin/ip", X_OK) != 0) {
    TAPIR_SKIP_TEST("needs the programs of iproute2");
  }
}

void BridgeTest::make_bridge(const std::string& name, const std::string& options) {
  run("ip link add " + name + " address 02:00:00:00:00:01 type bridge " + options);
  run("ip link set " + name + " up");
}

std::string BridgeTest::error_of(const PortRequest& request) {
  const auto port = make_port(request);
  return port ? "no error" : port.error().message();
}

Port BridgeTest::port_of(const PortRequest& request) {
  auto port = make_port(request);
  EXPECT_TRUE(port) << port.error().message();
  return port ? *std::move(port) : Port{};
}

}  // namespace tapir::helper::testing
