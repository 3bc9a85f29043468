declare var wer: any;
declare var uPlot: any;
