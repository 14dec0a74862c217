# One Makefile, no recursion: make sees the whole dependency graph.
#   make              release build in build/release
#   make B=asan       ASan + UBSan build in build/asan (kept apart: no stale mix)
#   make B=fuzz fuzz  libFuzzer targets (clang)
#   make help         every target that a person would call
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

PKG_CONFIG ?= pkg-config
B          ?= release
O          := build/$(B)
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(B),fuzz)
CC := clang
endif

cc-option = $(shell $(CC) -Werror $(1) -c -x c /dev/null -o /dev/null 2>/dev/null && echo $(1))
# pkg MODULE,NAME: NAME_CFLAGS and NAME_LIBS of a library.
define pkg
$(2)_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null)
$(2)_LIBS   := $$(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)
MISSING     += $$(if $$(shell $(PKG_CONFIG) --exists $(1) || echo no),$(1))
endef
MISSING :=
$(eval $(call pkg,libzstd,ZSTD))
$(eval $(call pkg,zlib,ZLIB))
$(eval $(call pkg,jansson,JANSSON))
$(eval $(call pkg,libxxhash,XXHASH))
$(eval $(call pkg,libcurl,CURL))
$(eval $(call pkg,blkid,BLKID))
$(eval $(call pkg,libparted,PARTED))
$(eval $(call pkg,libmicrohttpd,MHD))
$(eval $(call pkg,gnutls,GNUTLS))
$(eval $(call pkg,libsodium,SODIUM))
$(eval $(call pkg,sqlite3,SQLITE))
$(eval $(call pkg,openssl,OPENSSL))
$(eval $(call pkg,libcrypto,CRYPTO))
$(eval $(call pkg,ext2fs com_err,EXT2FS))
$(eval $(call pkg,libntfs-3g,NTFS3G))
$(eval $(call pkg,liburing,URING))
$(eval $(call pkg,libarchive,ARCHIVE))

WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wwrite-strings \
	-Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations \
	-Wold-style-definition -Wpointer-arith -Wimplicit-fallthrough \
	-Wconversion -Wno-sign-conversion \
	$(call cc-option,-Wlogical-op) $(call cc-option,-Wduplicated-cond) $(call cc-option,-Wjump-misses-init)
BASE := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -MMD -MP -pthread $(WARN)

HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE \
	$(call cc-option,-fstack-clash-protection) $(call cc-option,-fcf-protection=full) \
	$(call cc-option,-fstrict-flex-arrays=3) $(call cc-option,-ftrivial-auto-var-init=zero)

ifeq ($(B),release)
OPT := -O2 -g $(HARDEN)
LDF := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
else ifeq ($(B),asan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDF := -fsanitize=address,undefined
else ifeq ($(B),fuzz)
OPT := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
LDF := -fsanitize=fuzzer,address,undefined
else
$(error B=$(B) is not one of release asan fuzz)
endif
ifdef WERROR
BASE += -Werror
endif
VERSION := $(shell cat VERSION)
ALL_CFLAGS  = $(BASE) $(OPT) -DHOIST_VERSION='"$(VERSION)"' $(CFLAGS)
ALL_LDFLAGS = -pthread $(LDF) $(LDFLAGS)

ifneq ($(V),1)
Q := @
say = @printf '  %-7s %s\n' $(1) $@
endif

# ---- sources -------------------------------------------------------------------------------
COMMON_SRC := \
	common/agent_config.c \
	common/base64.c \
	common/beacon.c \
	common/blk.c \
	common/blk_file.c \
	common/bytes.c \
	common/codec.c \
	common/cpio.c \
	common/cut_hash.c \
	common/cut_hash_avx2.c \
	common/err.c \
	common/http.c \
	common/http_target.c \
	common/http_time.c \
	common/id.c \
	common/index.c \
	common/json.c \
	common/log.c \
	common/man.c \
	common/medium.c \
	common/medium_settings.c \
	common/message.c \
	common/netconf.c \
	common/netconf_ip.c \
	common/netconf_parse.c \
	common/netconf_print.c \
	common/node.c \
	common/pack.c \
	common/pairing.c \
	common/root.c \
	common/setting.c \
	common/setting_print.c \
	common/ssh_fingerprint.c \
	common/ssh_key.c \
	common/text.c

# hoist-agent without its main, so that tests can link it
AGENT_SRC := \
	agent/buspath.c \
	agent/capture.c \
	agent/capture_sender.c \
	agent/capture_worker.c \
	agent/config.c \
	agent/console.c \
	agent/cpu.c \
	agent/crew.c \
	agent/discover.c \
	agent/disk.c \
	agent/disk_file.c \
	agent/end.c \
	agent/enumerate.c \
	agent/extents.c \
	agent/fingerprint.c \
	agent/firmware.c \
	agent/fixup_gpt.c \
	agent/flight.c \
	agent/guard.c \
	agent/head.c \
	agent/heartbeat.c \
	agent/ibft.c \
	agent/idset.c \
	agent/introduce.c \
	agent/inventory.c \
	agent/inventory_json.c \
	agent/inventory_main.c \
	agent/inventory_print.c \
	agent/job.c \
	agent/ledger.c \
	agent/level.c \
	agent/link.c \
	agent/locks.c \
	agent/look.c \
	agent/lost.c \
	agent/machine_id.c \
	agent/machine_name.c \
	agent/man.c \
	agent/subcommand.c \
	agent/marker.c \
	agent/meter.c \
	agent/multipath.c \
	agent/nic.c \
	agent/orders.c \
	agent/outbox.c \
	agent/pair.c \
	agent/pair_server.c \
	agent/pair_wire.c \
	agent/paired.c \
	agent/parcels.c \
	agent/partitions.c \
	agent/patch.c \
	agent/kmsg.c \
	agent/pci.c \
	agent/pci_names.c \
	agent/peer.c \
	agent/peer_http.c \
	agent/probe.c \
	agent/probe_disks.c \
	agent/restore.c \
	agent/restore_verify.c \
	agent/restore_write.c \
	agent/rescue.c \
	agent/rescue_alive.c \
	agent/rescue_passes.c \
	agent/ring.c \
	agent/run.c \
	agent/session.c \
	agent/settle.c \
	agent/sick_disk.c \
	agent/source.c \
	agent/survey.c \
	agent/sysroot.c \
	agent/target.c \
	agent/timeouts.c \
	agent/unsettled.c \
	agent/used.c \
	agent/wire.c \
	agent/work.c \
	agent/work_capture.c \
	agent/work_restore.c

# hoist without its main, so that tests can link it
CLI_SRC := \
	server/cli/answer.c \
	server/cli/ask.c \
	server/cli/cmd_access_token.c \
	server/cli/cmd_audit.c \
	server/cli/cmd_capture_restore.c \
	server/cli/cmd_completion.c \
	server/cli/cmd_image.c \
	server/cli/cmd_iso.c \
	server/cli/cmd_job.c \
	server/cli/cmd_login.c \
	server/cli/cmd_machine.c \
	server/cli/cmd_media.c \
	server/cli/cmd_operator.c \
	server/cli/cmd_pairing.c \
	server/cli/cmd_server.c \
	server/cli/cmd_token.c \
	server/cli/cmd_vmdef.c \
	server/cli/commands.c \
	server/cli/connect.c \
	server/cli/coverage.c \
	server/cli/help.c \
	server/cli/image_ref.c \
	server/cli/iso_added.c \
	server/cli/iso_archive.c \
	server/cli/iso_area.c \
	server/cli/iso_copy.c \
	server/cli/iso_place.c \
	server/cli/iso_settings.c \
	server/cli/iso_ssh.c \
	server/cli/iso_token.c \
	server/cli/options.c \
	server/cli/print.c \
	server/cli/progress.c \
	server/cli/report_page.c \
	server/cli/report_rows.c \
	server/cli/resolve.c \
	server/cli/session.c \
	server/cli/table.c \
	server/cli/unreadable.c \
	server/cli/vmdef_xl.c

# the live image's network: hoist-agent network
AGENT_SRC += \
	agent/network/address.c \
	agent/network/advert.c \
	agent/network/build.c \
	agent/network/dhcp.c \
	agent/network/engine.c \
	agent/network/network_main.c \
	agent/network/rtnl.c \
	agent/network/sources.c

# who may log in to the live image: hoist-agent ssh
AGENT_SRC += \
	agent/ssh/guests.c \
	agent/ssh/listener.c \
	agent/ssh/ssh_main.c

# what of a disk is in use: hoist-agent map, and what a capture reads
AGENT_SRC += \
	agent/usage/areas.c \
	agent/usage/btrfs.c \
	agent/usage/btrfs_log.c \
	agent/usage/btrfs_tree.c \
	agent/usage/cache.c \
	agent/usage/content.c \
	agent/usage/crc32c.c \
	agent/usage/exfat.c \
	agent/usage/exfat_walk.c \
	agent/usage/ext.c \
	agent/usage/ext_io.c \
	agent/usage/ext_owner.c \
	agent/usage/ext_walk.c \
	agent/usage/fat.c \
	agent/usage/fat_walk.c \
	agent/usage/formats.c \
	agent/usage/gpt.c \
	agent/usage/lvm.c \
	agent/usage/lvm_group.c \
	agent/usage/lvm_text.c \
	agent/usage/lvm_volume.c \
	agent/usage/map_json.c \
	agent/usage/map_main.c \
	agent/usage/mbr.c \
	agent/usage/md.c \
	agent/usage/md_array.c \
	agent/usage/ntfs.c \
	agent/usage/ntfs_device.c \
	agent/usage/ntfs_owner.c \
	agent/usage/ntfs_shadow.c \
	agent/usage/ntfs_walk.c \
	agent/usage/owners.c \
	agent/usage/runs.c \
	agent/usage/scan.c \
	agent/usage/signature.c \
	agent/usage/swap.c \
	agent/usage/table.c \
	agent/usage/usage.c \
	agent/usage/volume.c \
	agent/usage/xfs.c \
	agent/usage/xfs_log.c

# the map of what was not unmounted
AGENT_SRC += \
	agent/replay/dm.c \
	agent/replay/klog.c \
	agent/replay/replay.c \
	agent/replay/store.c \
	agent/replay/sys.c

# libblake3 is preferred where there is one (Debian 12 has none); `make LIBBLAKE3=` does without.
LIBBLAKE3 ?= $(shell $(PKG_CONFIG) --exists libblake3 && echo yes)
ifeq ($(LIBBLAKE3),yes)
$(eval $(call pkg,libblake3,BLAKE3))
BASE += -DHAVE_LIBBLAKE3 $(BLAKE3_CFLAGS)
COMMON_SRC += common/blake3_lib.c
else
COMMON_SRC += common/blake3.c common/blake3_kernel.c
endif

COMMON_LIBS := $(ZSTD_LIBS) $(ZLIB_LIBS) $(JANSSON_LIBS) $(CURL_LIBS) $(BLAKE3_LIBS)

STORE_SRC := \
	server/store/cache.c \
	server/store/checkpoint.c \
	server/store/db.c \
	server/store/db_read.c \
	server/store/files.c \
	server/store/gc.c \
	server/store/gc_lost.c \
	server/store/gc_mark.c \
	server/store/gc_rewrite.c \
	server/store/gc_sweep.c \
	server/store/generation.c \
	server/store/get.c \
	server/store/index_file.c \
	server/store/manifests.c \
	server/store/marks.c \
	server/store/objects.c \
	server/store/pack_file.c \
	server/store/partial.c \
	server/store/put.c \
	server/store/recent.c \
	server/store/recover.c \
	server/store/seal.c \
	server/store/store.c \
	server/store/unreadable.c \
	server/store/upkeep.c \
	server/store/verify.c \
	server/store/workers.c

STORE_LIBS := $(SQLITE_LIBS) $(XXHASH_LIBS)

AGENT_LIBS  := $(COMMON_LIBS) $(CRYPTO_LIBS) $(BLKID_LIBS) $(EXT2FS_LIBS) $(NTFS3G_LIBS) $(URING_LIBS)

TESTLIB_SRC := tests/lib/api_rig.c tests/lib/blk_fault.c tests/lib/fleet_fixture.c tests/lib/https_server.c tests/lib/image.c tests/lib/rig.c tests/lib/sample.c tests/lib/sink.c \
	tests/lib/store_fixture.c
TEST_LIBS   := $(OPENSSL_LIBS)

# hoist-server: all but its main, so that tests can have it too.
SERVER_SRC := \
	server/access/access.c \
	server/access/audit.c \
	server/access/password.c \
	server/api/agent.c \
	server/api/agent_capture.c \
	server/api/agent_pair.c \
	server/api/agent_restore.c \
	server/api/audit.c \
	server/api/media.c \
	server/api/operator.c \
	server/api/operator_accounts.c \
	server/api/operator_images.c \
	server/api/operator_pairings.c \
	server/api/operator_session.c \
	server/api/operator_tokens.c \
	server/api/routes.c \
	server/api_error.c \
	server/config.c \
	server/discover.c \
	server/files.c \
	server/fleet/commit.c \
	server/fleet/fleet.c \
	server/fleet/images.c \
	server/fleet/job_agent.c \
	server/fleet/job_end.c \
	server/fleet/job_order.c \
	server/fleet/jobs.c \
	server/fleet/machines.c \
	server/fleet/register.c \
	server/fleet/orders.c \
	server/fleet/pace.c \
	server/fleet/pairing.c \
	server/fleet/pairing_begin.c \
	server/fleet/pairing_operator.c \
	server/fleet/pairing_table.c \
	server/fleet/pending.c \
	server/fleet/plan.c \
	server/fleet/recover.c \
	server/fleet/report.c \
	server/fleet/rule.c \
	server/fleet/secrets.c \
	server/fleet/view.c \
	server/fleet/worker.c \
	server/http/answer.c \
	server/http/call.c \
	server/http/connections.c \
	server/http/http.c \
	server/http/memory.c \
	server/http/request.c \
	server/http/route.c \
	server/listen.c \
	server/man.c \
	server/media/media.c \
	server/notify.c \
	server/rate.c \
	server/rumours.c \
	server/state/audit.c \
	server/state/events.c \
	server/state/jobs.c \
	server/state/machines.c \
	server/state/operators.c \
	server/state/schema.c \
	server/state/state.c \
	server/state/tokens.c \
	server/state/versions.c \
	server/tls.c

SERVER_LIBS := $(MHD_LIBS) $(GNUTLS_LIBS) $(SODIUM_LIBS) $(SQLITE_LIBS)

UNIT_SRC   := $(wildcard tests/unit/test_*.c)
FUZZ_SRC   := $(wildcard tests/fuzz/fuzz_*.c)
obj = $(patsubst %.c,$(O)/%.o,$(1))
UNIT  := $(patsubst tests/unit/%.c,$(O)/tests/%,$(UNIT_SRC))
FUZZ  := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))
REPLAY := $(patsubst tests/fuzz/%.c,$(O)/replay/%,$(FUZZ_SRC))

.PHONY: all bench check check-damage check-e2e check-fault check-fault-hour check-fuzz-corpus check-kernel check-qemu check-unit check-xen clean demo deps FORCE fuzz fuzz-http fuzz-long help install lint \
	list-tests man soak tests
all: $(O)/libcommon.a $(O)/libstore.a $(O)/agent/hoist-agent $(O)/server/hoist-server $(O)/server/hoist

deps:
	scripts/install-deps

$(O)/libcommon.a: $(call obj,$(COMMON_SRC))
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/libagent.a: $(call obj,$(AGENT_SRC))
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/agent/hoist-agent: $(O)/agent/main.o $(O)/libagent.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_LIBS)

$(O)/libserver.a: $(call obj,$(SERVER_SRC))
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/server/hoist-server: $(O)/server/main.o $(O)/libserver.a $(O)/libstore.a $(O)/libcommon.a
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(STORE_LIBS) $(SERVER_LIBS) $(COMMON_LIBS)

$(O)/libcli.a: $(call obj,$(CLI_SRC))
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/server/hoist: $(O)/server/cli/main.o $(O)/libcli.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS) $(CRYPTO_LIBS) $(ARCHIVE_LIBS)

$(O)/libtest.a: $(call obj,$(TESTLIB_SRC))
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/libstore.a: $(call obj,$(STORE_SRC))
	$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

# The archives give each test what it uses; --as-needed leaves out the libraries of what it does not.
$(O)/tests/%: $(O)/tests/unit/%.o $(O)/libtest.a $(O)/libagent.a $(O)/libcli.a $(O)/libserver.a $(O)/libstore.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(AGENT_LIBS) $(STORE_LIBS) $(SERVER_LIBS) $(ARCHIVE_LIBS) $(TEST_LIBS)

$(O)/fuzz/%: $(O)/tests/fuzz/%.o $(O)/libtest.a $(O)/libagent.a $(O)/libcli.a $(O)/libserver.a $(O)/libstore.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(AGENT_LIBS) $(STORE_LIBS) $(SERVER_LIBS) $(ARCHIVE_LIBS) $(TEST_LIBS)

# What the store costs: $(O)/bench/store FILE FOLDER
$(O)/bench/store: $(O)/tests/bench/store_bench.o $(O)/libstore.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(STORE_LIBS) $(COMMON_LIBS)

# The same target with a plain main that runs its corpus, tests/fuzz/corpus/X for fuzz_X.c.
$(O)/replay/%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/replay_main.o $(O)/libtest.a $(O)/libagent.a $(O)/libcli.a $(O)/libserver.a $(O)/libstore.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(AGENT_LIBS) $(STORE_LIBS) $(SERVER_LIBS) $(ARCHIVE_LIBS) $(TEST_LIBS)

# The loops of the BLAKE3 kernels keep more vectors in registers when gcc allocates for the whole
# function at once: AVX2 and SSE4.1 gain 10 % and more.
$(O)/common/blake3_kernel.o: private ALL_CFLAGS += $(call cc-option,-fira-region=one)

# Called only where the processor has it.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
$(O)/common/cut_hash_avx2.o: private ALL_CFLAGS += -mavx2
endif

$(O)/e2e/usage_%: $(O)/tests/e2e/usage_%.o $(O)/libtest.a $(O)/libagent.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(AGENT_LIBS) $(TEST_LIBS)

$(O)/e2e/faulty_disk: $(O)/tests/e2e/faulty_disk.o
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lfuse3

$(O)/e2e/mitm: $(O)/tests/e2e/mitm.o $(O)/libtest.a $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(COMMON_LIBS) $(TEST_LIBS)

$(O)/e2e/%: $(O)/tests/e2e/%.o $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS)

# Preloaded into our programs by tests/fault, whatever they are built with: no sanitizers.
$(O)/fault/%.so: tests/fault/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -fPIC -shared -o $@ $< -ldl

# A change of flags rebuilds what they compile: the flags are a prerequisite.
$(O)/flags: FORCE
	@mkdir -p $(O); echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' >$@
FORCE:

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# ---- the live image: everything without root; KERNEL=source builds our own kernel first -------
KERNEL    ?= debian
AGENT     ?= build/release/agent/hoist-agent
KDIR      := build/kernel/$(KERNEL)
IMAGE     := build/image/$(KERNEL)
EFI       := build/efi
# With firmware where Debian's packages of it can be had; FIRMWARE=1: that they cannot is an error; FIRMWARE=0: none.
FIRMWARE  ?=
VARIANT   := $(if $(filter-out debian,$(KERNEL)),-$(KERNEL))$(if $(filter 0,$(FIRMWARE)),-base)
ISO       := build/hoist$(VARIANT).iso
LENIENT   := $(if $(filter-out debian,$(KERNEL)),--lenient)
KCONFIG   := $(wildcard kernel-config/*.config)
IMAGE_SRC := $(shell find initramfs -type f) kernel-config/modules.rules VERSION $(addprefix scripts/,mkinitramfs mkcpio elf-deps select-modules)
# The time on the ISO; a new one makes it anew, which is quick: what is in it knows no time.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)

GUEST     := build/guest/guest.img
XENHOST   := build/xen/host.img

NETBOOT   := build/netboot$(VARIANT)

.PHONY: iso kernel guest netboot
iso: $(ISO)
netboot: $(NETBOOT)/vmlinuz
kernel: $(KDIR)/checked
guest: $(GUEST)

build/kernel/debian/release:
	$(call say,FETCH)
	$(Q)scripts/fetch-kernel $(@D)
build/kernel/source/release: build/kernel/debian/release scripts/mkkernel kernel-config/modules.rules $(KCONFIG) $(wildcard kernel-config/own/*.config)
	$(call say,KERNEL)
	$(Q)scripts/mkkernel $(<D) $(@D)
$(KDIR)/checked: $(KDIR)/release scripts/check-kernel-config $(KCONFIG)
	$(call say,CHECK)
	$(Q)scripts/check-kernel-config $(KDIR)/config $(KCONFIG) && touch $@
$(IMAGE)/initramfs.img: $(KDIR)/checked $(AGENT) $(IMAGE_SRC)
	@mkdir -p $(@D)
	$(call say,PACK)
	$(Q)scripts/mkinitramfs $(LENIENT) --kernel $(KDIR) --agent $(AGENT) --out $@
$(IMAGE)/added.img: scripts/mkadded scripts/mkcpio $(KDIR)/release
	@mkdir -p $(@D)
	$(Q)scripts/mkadded $$(cat $(KDIR)/release) $@
$(IMAGE)/settings.cpio: scripts/mksettings scripts/mkcpio
	@mkdir -p $(@D)
	$(Q)scripts/mksettings $@
# One that was left empty because nothing could be downloaded is tried again when it must be there.
build/firmware/packages: scripts/fetch-firmware initramfs/firmware $(if $(filter 1,$(FIRMWARE)),$(shell test -s build/firmware/packages || echo FORCE))
	$(call say,FETCH)
	$(Q)scripts/fetch-firmware $(if $(filter 1,$(FIRMWARE)),,--optional) $(@D) && touch $@
$(IMAGE)/firmware.img: build/firmware/packages $(KDIR)/checked scripts/mkfirmware scripts/mkcpio scripts/select-modules kernel-config/modules.rules
	@mkdir -p $(@D)
	$(call say,PACK)
	$(Q)scripts/mkfirmware $(LENIENT) --kernel $(KDIR) --firmware $(<D) --out $@
$(IMAGE)/no-firmware.img: scripts/mkcpio
	@mkdir -p $(@D)
	$(Q)scripts/mkcpio /dev/null >$@
$(IMAGE)/epoch: FORCE
	@mkdir -p $(@D); echo $(SOURCE_DATE_EPOCH) | cmp -s - $@ || echo $(SOURCE_DATE_EPOCH) >$@
FW_IMG    := $(IMAGE)/$(if $(filter 0,$(FIRMWARE)),no-)firmware.img
BOOT_ARGS := --kernel $(KDIR)/vmlinuz --initramfs $(IMAGE)/initramfs.img --firmware $(FW_IMG) --added $(IMAGE)/added.img --settings $(IMAGE)/settings.cpio --efi $(EFI)
BOOT_SRC  := scripts/mkmenu VERSION $(shell find iso -type f)
$(EFI)/packages: scripts/fetch-efi
	$(call say,FETCH)
	$(Q)scripts/fetch-efi $(@D) && touch $@
$(ISO): $(IMAGE)/epoch $(EFI)/packages $(IMAGE)/initramfs.img $(FW_IMG) $(IMAGE)/added.img $(IMAGE)/settings.cpio scripts/mkiso $(BOOT_SRC)
	$(call say,ISO)
	$(Q)scripts/mkiso $(BOOT_ARGS) --out $@
$(NETBOOT)/vmlinuz: $(EFI)/packages $(IMAGE)/initramfs.img $(FW_IMG) $(IMAGE)/added.img $(IMAGE)/settings.cpio scripts/mknetboot $(BOOT_SRC)
	$(call say,NETBOOT)
	$(Q)scripts/mknetboot $(BOOT_ARGS) --out $(@D) && touch $@

# A Debian on a disk, for the machine to be migrated: needs root.
$(GUEST): scripts/mkguest
	$(call say,GUEST)
	$(Q)scripts/mkguest $@

# A Debian with Xen, for tests/xen: needs root.
$(XENHOST): scripts/mkxenhost
	$(call say,XENHOST)
	$(Q)scripts/mkxenhost $@

# ---- checks: TAP tests, run by scripts/run-tests; T=a,b picks those whose path holds a or b
comma := ,
pick = $(if $(T),$(foreach w,$(subst $(comma), ,$(T)),$(foreach f,$(1),$(if $(findstring $(w),$(f)),$(f)))),$(1))
RUN_TESTS := scripts/run-tests $(if $(V),--verbose)
UNIT_TESTS = $(UNIT) $(REPLAY) $(wildcard tests/unit/test_*.sh)
# Programs that the tests in tests/e2e call besides our own.
E2E_TOOL  := $(patsubst tests/e2e/%.c,$(O)/e2e/%,$(wildcard tests/e2e/*.c))
E2E_TESTS  = $(wildcard tests/e2e/*.sh)
FAULT_TOOL  = $(patsubst tests/fault/%.c,$(O)/fault/%.so,$(wildcard tests/fault/*.c))
FAULT_TESTS = $(wildcard tests/fault/*.sh)
QEMU_TESTS = $(wildcard tests/qemu/*.sh)
XEN_TESTS  = $(wildcard tests/xen/*.sh)

check-unit: $(UNIT) $(REPLAY)
	$(RUN_TESTS) $(call pick,$(UNIT_TESTS))
check-fuzz-corpus: $(REPLAY)
	$(RUN_TESTS) $(REPLAY)
check-e2e: all $(E2E_TOOL)
	O=$(O) $(RUN_TESTS) $(call pick,$(E2E_TESTS))
# Every kind of disk in N layouts, RUNS damages to each: see tests/e2e/usage-damage.sh.
check-damage: all $(E2E_TOOL)
	O=$(O) LAYOUTS=$(or $(N),20) RUNS=$(or $(RUNS),2000) scripts/run-tests --timeout 86400 tests/e2e/usage-damage.sh
# N times each case of the matrix, at random points; power cuts; with MACHINES=1 whole machines too: docs/reliability.md.
MACHINE_TESTS := $(if $(MACHINES),tests/qemu/power.sh tests/qemu/server-power.sh)
check-fault: all $(FAULT_TOOL) $(if $(MACHINES),iso)
	O=$(O) N=$(or $(N),1) SEED=$(SEED) $(RUN_TESTS) --verbose --jobs 1 --timeout 86400 $(call pick,$(FAULT_TESTS) $(MACHINE_TESTS))
# The network is gone for an hour, of a capture and of a restore: an hour by the clock, and next to no processor.
check-fault-hour: all $(FAULT_TOOL)
	$(MAKE) -j2 check-fault-hour-capture check-fault-hour-restore
check-fault-hour-%: all $(FAULT_TOOL)
	O=$(O) N=1 SEED=$(SEED) CASES=$*:net_cut_hour $(RUN_TESTS) --timeout 86400 tests/fault/matrix.sh
# Fifty agents and one server under random jobs and faults: docs/reliability.md.
soak: all
	O=$(O) tests/soak/soak --minutes $(or $(MINUTES),30) --report $(O)/soak.txt
check-qemu: all iso netboot guest
	HOIST_KERNEL=$(KERNEL) $(RUN_TESTS) $(call pick,$(QEMU_TESTS))
# Real Xen in QEMU, without KVM, so not part of check: half an hour on a quiet machine.
check-xen: all iso netboot guest $(XENHOST)
	$(RUN_TESTS) --timeout 10800 $(call pick,$(XEN_TESTS))
# A kernel of our own is built twice, and is the same: two hours of a processor.
check-kernel: build/kernel/source/release
	AGAIN=$(AGAIN) $(RUN_TESTS) --timeout 21600 tests/kernel/again.sh
# Everything, from a fresh machine on: installs, builds, tests; HACKING.md names the parts.
check:
	scripts/check
tests: $(UNIT) $(REPLAY) $(E2E_TOOL) $(FAULT_TOOL)
list-tests:
	@printf '%s\n' $(UNIT) $(REPLAY)
lint:
	scripts/run-tests scripts/lint
# The HTTP surface of a running server, under the sanitizers: MINUTES of it.
MINUTES ?= 30
fuzz-http:
	$(Q)$(MAKE) B=asan all tests
	$(Q)B=asan FUZZ_SECONDS=$$(($(MINUTES) * 60)) bash tests/e2e/server-fuzz.sh

fuzz: $(FUZZ)
# Every target (T=word: some) for MINUTES, JOBS at a time; a night may be had in parts, AGAIN=1 begins anew.  The table: tests/fuzz/table.txt.
fuzz-long:
	$(Q)$(MAKE) B=fuzz fuzz
	$(Q)scripts/fuzz --keep --seconds $$(($(MINUTES) * 60)) $(if $(JOBS),--jobs $(JOBS)) $(if $(AGAIN),--again) \
		$(patsubst tests/fuzz/%.c,%,$(call pick,$(FUZZ_SRC)))
# Figures beside those of peers, in one session; docs/performance.md says what they mean.
bench: all $(O)/bench/primitives
	tests/bench/run
# Each step of a capture alone: $(O)/bench/primitives DISK
$(O)/bench/primitives: $(O)/tests/bench/primitives.o $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS) $(TEST_LIBS)

$(O)/bench/%: $(O)/tests/bench/%.o $(O)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS)
# A whole migration in virtual machines, while you watch.
demo:
	scripts/demo
# The manual pages are made by the programs from their tables and committed, so that they can be read without building.
man: all
	@mkdir -p docs/man
	$(O)/server/hoist --print-man >docs/man/hoist.1
	$(O)/server/hoist-server --print-man >docs/man/hoist-server.8
	$(O)/agent/hoist-agent --print-man >docs/man/hoist-agent.8

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/lib,$(PREFIX)/lib)/systemd/system
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
DATADIR ?= $(PREFIX)/share/hoist
# build/hoist.iso goes along when it was built.
install: all
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(SBINDIR) $(MANDIR)/man1 $(MANDIR)/man8 $(UNITDIR) $(COMPLETIONDIR) $(DATADIR))
	install -m 755 $(O)/server/hoist $(DESTDIR)$(BINDIR)
	install -m 755 $(O)/server/hoist-server $(O)/agent/hoist-agent $(DESTDIR)$(SBINDIR)
	install -m 644 docs/man/hoist.1 $(DESTDIR)$(MANDIR)/man1
	install -m 644 docs/man/hoist-server.8 docs/man/hoist-agent.8 $(DESTDIR)$(MANDIR)/man8
	$(O)/server/hoist completion bash >$(DESTDIR)$(COMPLETIONDIR)/hoist
	chmod 644 $(DESTDIR)$(COMPLETIONDIR)/hoist
	sed 's#@SBINDIR@#$(SBINDIR)#' server/hoist-server.service.in >$(DESTDIR)$(UNITDIR)/hoist-server.service
	chmod 644 $(DESTDIR)$(UNITDIR)/hoist-server.service
	[ ! -e $(ISO) ] || install -m 644 $(ISO) $(DESTDIR)$(DATADIR)/hoist.iso
help:
	@echo 'make demo         a whole migration in virtual machines, while you watch'
	@echo 'make check        install what is needed, build everything, run all tests'
	@echo 'make              programs in build/release (B=asan: with sanitizers in build/asan; CC=clang)'
	@echo 'make iso          build/hoist.iso (FIRMWARE=0: hoist-base.iso, without firmware; KERNEL=source: with a kernel of our own)'
	@echo 'make netboot      build/netboot: the same for starting from the network'
	@echo 'make install      programs, manual pages, unit and completion (DESTDIR=, PREFIX=)'
	@echo 'make man          docs/man anew, after a change of options'
	@echo 'make check-unit   also check-e2e, check-qemu, check-xen, check-kernel, check-damage, check-fuzz-corpus, lint; T=word picks tests'
	@echo 'make check-fault  each fault N=1 times at random points, SEED=; power cuts'
	@echo 'make check-fault-hour  the network gone for an hour, in a capture and in a restore'
	@echo 'make soak         fifty agents under faults for MINUTES=30'
	@echo 'make bench        figures beside those of peers'
	@echo 'make B=fuzz fuzz  fuzz targets in build/fuzz/fuzz'
	@echo 'make fuzz-long    each of them for MINUTES=30, JOBS= at a time, in parts if need be'
	@echo 'make fuzz-http    nonsense at every route of a running server, MINUTES=30 of it'
	@echo 'make deps clean   what they say'
clean:
	rm -rf build

-include $(shell find $(O) -name '*.d' 2>/dev/null)
