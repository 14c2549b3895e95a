// module.S: the kernels, compiled for every architecture (build/kernels.fatbin), as bytes of the program.
    .section .rodata
    .globl hone_cuda_module
    .balign 64
hone_cuda_module:
    .incbin CUDA_MODULE
    .byte 0
    .section .note.GNU-stack,"",@progbits
