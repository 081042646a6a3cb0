from keng.cli import main

main()
