// SPDX-License-Identifier: Apache-2.0
#include "vmm/canonical_options.h"

#include <gmock/gmock.h>

#include "net/command_runner.h"
#include "vmm/options.h"
#include "vmm/testing/parse_line.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using testing::parse_words;

MachineConfig machine(const std::vector<std::string>& words) {
  auto options = parse_words(words);
  EXPECT_TRUE(options) << options.error().front();
  return options ? std::get<RunOptions>(*std::move(options)).machine : MachineConfig();
}

/// What -dry-run prints for a line.
std::string canonical(const std::string& line) {
  return shell_text(command_line_of(machine(*net::split_command("tapir " + line))));
}

TEST(CanonicalOptionsTest, DefaultsAreLeftOut) {
  EXPECT_EQ(canonical("-kernel vmlinuz -m 128 -smp 1 -cpu host -serial stdio -nographic -nodefaults"),
            "-kernel vmlinuz");
  EXPECT_EQ(canonical("-kernel vmlinuz -netdev bridge,id=b,br=br0,queues=1 "
                      "-device virtio-net-pci,netdev=b,csum=on,rx_queue_size=256,host_mtu=0"),
            "-kernel vmlinuz -netdev bridge,id=b -device virtio-net-pci,netdev=b");
}

TEST(CanonicalOptionsTest, OlderFormsBecomeNetdevAndDevice) {
  EXPECT_EQ(canonical("-kernel k -net bridge -net nic,macaddr=52-54-0-0-0-9"),
            "-kernel k -netdev bridge,id=net0 -device virtio-net-pci,netdev=net0,mac=52:54:00:00:00:09");
  EXPECT_EQ(canonical("-kernel k -nic tap,fd=3,model=virtio-net-device"),
            "-kernel k -netdev tap,id=net0,fd=3 -device virtio-net-device,netdev=net0");
  EXPECT_EQ(canonical("-kernel k -net nic -net tap,fd=3 -net tap,fd=4"),
            "-kernel k -netdev tap,id=net0,fd=3 -netdev hubport,id=port0,hubid=0,netdev=net0 -netdev "
            "tap,id=net1,fd=4 -netdev hubport,id=port1,hubid=0,netdev=net1 -netdev hubport,id=port2,hubid=0 "
            "-device "
            "virtio-net-pci,netdev=port2");
}

TEST(CanonicalOptionsTest, WordsAreQuotedForAShell) {
  EXPECT_EQ(shell_text(std::vector<std::string>{"-append", "a b", "", "it's", "x=1,y"}),
            "-append 'a b' '' 'it'\\''s' x=1,y");
}

class RoundTripTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RoundTripTest, GivesTheSameConfiguration) {
  const MachineConfig first = machine(*net::split_command("tapir -kernel k " + std::string(GetParam())));
  const std::vector<std::string> words = command_line_of(first);
  std::vector<std::string> again = {"tapir"};
  again.insert(again.end(), words.begin(), words.end());
  EXPECT_EQ(testing::without_texts(machine(again)), testing::without_texts(first)) << shell_text(words);
}

INSTANTIATE_TEST_SUITE_P(
    Lines, RoundTripTest,
    ::testing::Values(
        "-initrd i,,j,k -append 'a b' -m 4097K -smp 3 -cpu host,+avx,-avx2 -name a,,b -serial file:x,y "
        "-no-reboot "
        "-d net",
        "-serial none", "-serial null",
        R"(-netdev "bridge,id=a,br=br7,helper=/h,queues=3,down-helper=x 'a b' it\\'s '' c,,d" -device virtio-net-pci,netdev=a)",
        "-netdev 'tap,id=a,helper=sudo /h --br=br4,sndbuf=1M,poll-us=7' -device "
        "virtio-net-device,netdev=a,id=n",
        "-netdev tap,id=a,ifname=t0,vnet_hdr=off,script=/u,downscript=no,sndbuf=0 -device "
        "virtio-net-pci,netdev=a",
        "-netdev tap,id=a,dev=/dev/tap5 -device virtio-net-pci,netdev=a",
        "-netdev tap,id=a,queues=16 -device virtio-net-pci,netdev=a,mq=on,vectors=34",
        "-netdev tap,id=a,fds=3:4 -device virtio-net-pci,netdev=a -netdev tap,id=b,fd=5 -device "
        "virtio-net-pci,netdev=b",
        "-device virtio-net-pci,id=x,mac=52:54:00:12:34:56,csum=off,event_idx=off,host_uso=off,host_mtu=1400,"
        "rx_queue_size=512,tx_queue_size=1024,speed=0,duplex=half,bootindex=0,addr=1f,vectors=0",
        "-net nic -net nic -net tap,fd=3 -netdev tap,id=net0,fd=4 -netdev "
        "hubport,id=port0,hubid=-5,netdev=net0 "
        "-nic hubport,hubid=-5 -nic hubport,hubid=-5 -net tap,fd=7",
        "-net tap,fd=3 -net tap,fd=4", "-net nic -net nic"));

}  // namespace
}  // namespace tapir::vmm
